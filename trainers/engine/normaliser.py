"""What TRL divides a loss by, for each `loss_type`: a second loss added to it has to be divided by the same.

A method that takes its mean over a part of the responses rescales the mean over the tokens of the whole rollout batch.
The other means weigh responses by other numbers, so that it is refused with them.

Source: TRL 1.16, the end of `GRPOTrainer._compute_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...store.errors import UsageError

TOKEN_MEANS = ("dapo", "cispo", "vespo")
"""The values of `loss_type` that sum over tokens and divide by those of the whole rollout batch."""


def check_mean(objective: Any, mean: str, option: str = "loss_type", among: Sequence[str] = TOKEN_MEANS) -> None:
    """See that the loss takes the mean that the method counts on.

    Args:
        objective: the method's; None is the loss's own.
        mean: the value of `option`.
        option: where the mean is chosen.
        among: values that take the mean over the tokens of the whole batch.

    Raises:
        UsageError: naming the option and what to choose.
    """
    if getattr(objective, "rescales_token_mean", False) and mean not in among:
        raise UsageError(
            "PSR, NSR and W-REINFORCE take the mean over the tokens of the answers they keep, in the whole rollout "
            f"batch, and {option} {mean} divides by something else: choose {option} {' or '.join(among)}"
        )


def normalised(
    per_token: torch.Tensor,
    mask: torch.Tensor,
    loss_type: str,
    *,
    accumulation: int,
    longest: int,
    share: int,
    items: torch.Tensor,
) -> torch.Tensor:
    """A per-token loss as TRL sums it up.

    Args:
        per_token: (B, T).
        mask: (B, T) tokens of the loss.
        loss_type: TRL's.
        accumulation: micro-batches per optimizer step.
        longest: `max_completion_length`.
        share: micro-batches of a rollout batch, of all processes.
        items: tokens of the rollout batch, of all processes.

    Returns:
        Scalar.
    """
    total = (per_token * mask).sum()
    if loss_type in ("grpo", "sapo"):
        return ((per_token * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean() / accumulation
    if loss_type == "bnpo":
        return total / mask.sum().clamp(min=1.0) / accumulation
    if loss_type == "dr_grpo":
        return total / (per_token.size(0) * longest) / accumulation
    if loss_type == "luspo":
        return (per_token * mask).sum(-1).mean() / accumulation
    return total / (items.clamp(min=1.0) * accumulation / share)
