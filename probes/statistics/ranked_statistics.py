"""Ranked statistics of next-token distributions: one fused autograd function over a chunk of logits.

Shapes: N rows (tokens), V vocabulary entries, K ranked candidates. Everything is in nats. Computation is in float32
(float64 for float64 logits) whatever the dtype of the logits; gradients come back in the dtype of the logits.

Definitions, with x the transformed logits (`LogitTransform`) and p = softmax(x):
    logprob       log p_y of the label y
    entropy       H = -Σ_v p_v log p_v, with 0·log 0 = 0, so logits of -inf are fine
    logsumexp     log Σ_v exp x_v
    rank          1 + #{v: x_v > x_y}
    collision     Σ_v p_v²
    collision_logprob  Σ_v p_v² log p_v
    top_logprob   log p of the K largest logits, in descending order
    top_id        their vocabulary ids; equal logits are ordered by id, lowest first

Gradients flow through logprob, entropy and top_logprob:
    ∂/∂x = g_logprob (e_y - p) - g_entropy p (log p + H) + Σ_k g_k (e_{v_k} - p)

A row with NaN or +inf logits gives NaN statistics and never raises.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from ..errors import TooManyCandidates
from .backends import Backend, implementation
from .logit_transform import LogitTransform
from .token_stats import RowGradientInputs, RowGradients, RowStats


def ranked_statistics(
    logits: torch.Tensor,
    labels: torch.Tensor,
    k: int,
    transform: LogitTransform = LogitTransform(),  # noqa: B008  immutable
    known: RowStats | None = None,
    backend: Backend | None = None,
) -> RowStats:
    """Statistics of N next-token distributions.

    Args:
        logits: (N, V), any floating dtype. Entries may be -inf, not a whole row.
        labels: (N,) the scored token of every row.
        k: number of ranked candidates K.
        transform: scaling, soft-capping and temperature to apply to the logits.
        known: the statistics of these very rows from an earlier call; they are then not computed again. For the
            recomputation under activation checkpointing.
        backend: which implementation computes them; None: as `SIMKO_KERNEL` says, else the best one for the device.

    Returns:
        (N,) and (N, K) statistics; logprob, entropy and top_logprob carry gradient.

    Raises:
        TooManyCandidates: K is not in 1..V.
        BackendMissing: the implementation asked for cannot run here.
    """
    if not 1 <= k <= logits.size(-1):
        raise TooManyCandidates(k, logits.size(-1))
    return RowStats(*_RankedStatistics.apply(logits, labels, k, transform, known, implementation(logits, backend)))


class _RankedStatistics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        labels: torch.Tensor,
        k: int,
        transform: LogitTransform,
        known: RowStats | None,
        compute: Any,
    ) -> tuple[torch.Tensor, ...]:
        # Outputs of which nobody takes a gradient (the entropy, mostly) then cost nothing in backward.
        ctx.set_materialize_grads(False)
        stats = compute.forward(logits, labels, k, transform) if known is None else known.detach()
        ctx.save_for_backward(logits, labels, stats.entropy, stats.logsumexp, stats.top_id)
        ctx.transform, ctx.compute = transform, compute
        ctx.mark_non_differentiable(
            stats.logsumexp, stats.rank, stats.collision, stats.collision_logprob, stats.entropy_slope, stats.top_id
        )
        return tuple(stats)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        grad_logprob: Any,
        grad_entropy: Any,
        _lse: Any,
        _rank: Any,
        _collision: Any,
        _collision_logprob: Any,
        _entropy_slope: Any,
        grad_top: Any,
        _ids: Any,
    ) -> tuple[torch.Tensor | None, ...]:
        logits, labels, *stats = ctx.saved_tensors
        grads = RowGradients(grad_logprob, grad_entropy, grad_top)
        if all(grad is None for grad in grads):
            return (None,) * 6
        grad_logits = ctx.compute.backward(logits, labels, RowGradientInputs(*stats), grads, ctx.transform)
        return grad_logits, None, None, None, None, None
