"""What verl's policy loss is made of: how it clips, and how it sums up what each token costs.

The loss function that an engine is given is `functools.partial(ppo_loss, config=…)`; its configuration says both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from verl.trainer.ppo.core_algos import agg_loss


def config_of(loss_function: Any) -> Any | None:
    """The actor's configuration that a loss function was made with; None for one that shows none."""
    config = getattr(loss_function, "keywords", {}).get("config")
    return config if hasattr(config, "loss_agg_mode") and hasattr(config, "global_batch_info") else None


def clip_range(config: Any | None) -> tuple[float, float]:
    """How far below and above 1 the loss clips ratios; infinite where that is not known."""
    if config is None:
        return math.inf, math.inf
    low, high = (getattr(config, name, None) for name in ("clip_ratio_low", "clip_ratio_high"))
    return (config.clip_ratio if low is None else low), (config.clip_ratio if high is None else high)


def aggregated(per_token: torch.Tensor, mask: torch.Tensor, config: Any) -> torch.Tensor:
    """A per-token loss (B, T) summed up as the policy loss is, after the policy loss has been.

    `ppo_loss` leaves in the configuration what the whole mini-batch counts.
    """
    loss: torch.Tensor = agg_loss(
        loss_mat=per_token, loss_mask=mask, loss_agg_mode=config.loss_agg_mode, **config.global_batch_info
    )
    return loss


def token_share(mask: torch.Tensor, config: Any) -> torch.Tensor:
    """(B, T) what one token's loss counts in the loss of the micro-batch."""
    unit = torch.zeros(mask.shape, device=mask.device, requires_grad=True)
    with torch.enable_grad():
        return torch.autograd.grad(aggregated(unit, mask, config), unit)[0]
