"""Objectives applied to logits worked out the long way, in whatever precision the logits have."""

from __future__ import annotations

from typing import Any

import torch
from simko.trainers.objectives import ScoredBatch


def scored(
    logits: torch.Tensor,
    token: torch.Tensor,
    mask: torch.Tensor,
    advantages: torch.Tensor,
    right: torch.Tensor,
    k: int,
    old_logprob: torch.Tensor,
    **fields: Any,
) -> ScoredBatch:
    """The objective's input computed naively from logits (B, T, V)."""
    logp = logits.log_softmax(-1)
    logprob = logp.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    return ScoredBatch(
        logprob=logprob,
        old_logprob=old_logprob,
        entropy=-(logp.exp() * logp).sum(-1),
        top_logprob=logp.topk(max(k, 1), dim=-1).values,
        rank=(logp > logprob.unsqueeze(-1)).sum(-1) + 1,
        mask=mask,
        advantages=advantages,
        right=right,
        wrong=~right,
        **fields,
    )


def ppo_loss(objective: Any, batch: ScoredBatch, low: float = 0.2, high: float = 0.2) -> torch.Tensor:
    """Token-mean clipped loss, the one TRL computes from a surrogate."""
    surrogate = objective(batch)
    ratio = (surrogate.logprob - batch.old_logprob).exp()
    advantages = surrogate.advantages
    advantages = advantages if advantages.dim() == 2 else advantages.unsqueeze(1)
    per_token = -torch.min(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
    if surrogate.penalty is not None:
        per_token = per_token + surrogate.penalty
    return (per_token * batch.mask).sum() / batch.mask.sum()


def loss_and_gradient(
    objective: Any,
    logits: torch.Tensor,
    token: torch.Tensor,
    old_logprob: torch.Tensor,
    mask: torch.Tensor,
    advantages: torch.Tensor,
    right: torch.Tensor,
    **clip: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and its gradient with respect to the logits."""
    logits = logits.clone().requires_grad_(True)
    batch = scored(logits, token, mask, advantages, right, objective.num_candidates, old_logprob)
    loss = ppo_loss(objective, batch, **clip)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]
