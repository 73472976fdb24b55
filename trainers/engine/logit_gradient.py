"""What a loss does at each token, read off its gradient: exact for every method, clipping and normaliser included.

The loss reaches the model's logits x through log π(y), log π(v⁽ᵏ⁾) and H alone, so with a = -∂L/∂log π(y),
b_k = -∂L/∂log π(v⁽ᵏ⁾) and h = ∂(-L)/∂H it moves the logits along w(ẽ - p) + h·∂H/∂x with w = a + Σ_k b_k and
w·ẽ = a·e_y + Σ_k b_k·e_{v_k}. The gradient stops at those three tensors: nothing of the model is gone through.
"""

from __future__ import annotations

from typing import Any

import torch

from ...probes.recording.scope import LogitGradient
from ..objectives import ScoredBatch


def logit_gradient(loss: torch.Tensor, scored: ScoredBatch, share: torch.Tensor, objective: Any) -> LogitGradient:
    """The credit of a scored micro-batch.

    Args:
        loss: scalar, with the graph that leads to `scored`.
        scored: what the objective saw; its tensors are those the loss was made from.
        share: (B, T) what one token's loss counts in `loss`, by which the result is divided: 0 outside the mask.
        objective: whose `smoothing_k` and `smoothing_weighting` tell how the candidates share; None has neither.

    Returns:
        Tensors (B, T), 0 outside the mask.
    """
    tensors = [scored.logprob, scored.top_logprob, scored.entropy]
    live = [tensor for tensor in tensors if tensor.requires_grad and tensor.numel()]
    result = iter(torch.autograd.grad(loss, live, retain_graph=True, allow_unused=True))
    of_sampled, of_top, of_entropy = (
        next(result) if tensor.requires_grad and tensor.numel() else None for tensor in tensors
    )

    def per_token(gradient: torch.Tensor | None) -> torch.Tensor:
        none = torch.zeros_like(share)
        return none if gradient is None else torch.where(share > 0, -gradient / share.clamp(min=1e-30), none)

    smoothed = per_token(None if of_top is None else of_top.sum(-1))
    weight = per_token(of_sampled) + smoothed
    return LogitGradient(
        weight=weight,
        ratio=(scored.logprob - scored.old_logprob).detach().exp(),
        smoothing=torch.where(weight != 0, smoothed / torch.where(weight != 0, weight, 1.0), 0.0),
        entropy_weight=None if of_entropy is None else per_token(of_entropy),
        smoothing_k=getattr(objective, "num_candidates", 0),
        smoothing_weighting=getattr(objective, "weighting", "uniform"),
    )
