"""What TRL divides a loss by, for each `loss_type`: a second loss added to it has to be divided by the same.

Source: TRL 1.16, the end of `GRPOTrainer._compute_loss`.
"""

from __future__ import annotations

import torch


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
