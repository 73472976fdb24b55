"""Figures of a micro-batch that every tracker gets beside TRL's own: Λ(1..3) and the share of forking tokens."""

from __future__ import annotations

from typing import Any

import torch

from ...probes.forking import widest_float


def lambda_figures(top_logprob: torch.Tensor, mask: torch.Tensor, accelerator: Any) -> dict[str, float]:
    """Λ(k) of a micro-batch, all processes together: mean over responses of the mean over their tokens, in nats.

    Args:
        top_logprob: (B, S, K), of which the last T positions count.
        mask: (B, T) tokens of the loss.
        accelerator: adds up over processes.
    """
    wide = widest_float(mask.device)
    top = top_logprob.detach()[:, -mask.size(1) :, :3].to(wide) * mask.unsqueeze(-1)
    length = mask.sum(1, keepdim=True)
    means = top.sum(1) / length.clamp(min=1)
    counts = (length > 0).sum().to(wide).unsqueeze(0)
    *sums, responses = accelerator.reduce(torch.cat([means.sum(0), counts]), reduction="sum").tolist()
    return {f"lambda_{k}": total / max(responses, 1.0) for k, total in enumerate(sums, 1)}


def forking_fraction(chosen: torch.Tensor, mask: torch.Tensor, accelerator: Any) -> float:
    """The share of tokens (B, T) a method singled out, all processes together."""
    counts = torch.stack([chosen.sum(), mask.sum()]).float()
    forking, total = accelerator.reduce(counts, reduction="sum").tolist()
    return float(forking / max(total, 1.0))
