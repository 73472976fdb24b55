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

from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from .errors import TooManyCandidates
from .logit_transform import LogitTransform
from .ranking import COLUMNS, block_maxima, top_candidates

_BLOCK_BYTES = 2 << 20
"""Rows are folded in blocks of about this much scratch on the CPU: what stays in cache is read once from memory."""
_NO_PROBABILITY = -1000.0
"""exp of this is 0 in float32 and float64: a finite stand-in for -inf, so that 0·log 0 is 0."""


class TokenStats(NamedTuple):
    """Ranked statistics of B responses at T positions; all fields are 0 outside `mask`.

    A named tuple, so that DDP, FSDP and accelerate find the tensors inside a model output.

    Attributes:
        logprob: (B, T) log-probability of the scored token. Carries gradient.
        entropy: (B, T) entropy of the distribution. Carries gradient.
        logsumexp: (B, T) log-normaliser of the (scaled, tempered) logits.
        rank: (B, T) int64 rank of the scored token, from 1.
        collision: (B, T) Σ_v p_v².
        collision_logprob: (B, T) Σ_v p_v² log p_v.
        top_logprob: (B, T, K) log-probabilities of rank 1..K. Carries gradient.
        top_id: (B, T, K) int64 their vocabulary ids.
        mask: (B, T) bool, the scored positions.
        token_id: (B, T) int64, the scored token.
    """

    logprob: torch.Tensor
    entropy: torch.Tensor
    logsumexp: torch.Tensor
    rank: torch.Tensor
    collision: torch.Tensor
    collision_logprob: torch.Tensor
    top_logprob: torch.Tensor
    top_id: torch.Tensor
    mask: torch.Tensor
    token_id: torch.Tensor

    def detach(self) -> TokenStats:
        """The same values without gradient."""
        return TokenStats(*(field.detach() for field in self))

    def last(self, width: int) -> TokenStats:
        """The last `width` positions, e.g. a completion without its prompt."""
        start = self.mask.size(1) - width
        if start < 0:
            raise ValueError(f"only {self.mask.size(1)} positions are scored, {width} asked for")
        return TokenStats(*(field[:, start:] for field in self))


class RowStats(NamedTuple):
    """The statistics of N rows: fields of `TokenStats` with shapes (N,) and (N, K)."""

    logprob: torch.Tensor
    entropy: torch.Tensor
    logsumexp: torch.Tensor
    rank: torch.Tensor
    collision: torch.Tensor
    collision_logprob: torch.Tensor
    top_logprob: torch.Tensor
    top_id: torch.Tensor

    def detach(self) -> RowStats:
        """The same values without gradient."""
        return RowStats(*(field.detach() for field in self))

    def scatter(self, mask: torch.Tensor, labels: torch.Tensor) -> TokenStats:
        """Put the rows at the True positions of `mask` (B, T), in row-major order; `labels` is (B, T)."""

        def place(rows: torch.Tensor) -> torch.Tensor:
            # masked_scatter keeps the result connected to the graph even when no position is scored
            wide = mask if rows.dim() == 1 else mask.unsqueeze(-1)
            return rows.new_zeros(mask.shape + rows.shape[1:]).masked_scatter(wide, rows)

        return TokenStats._make([*map(place, self), mask, labels.masked_fill(~mask, 0)])


def ranked_statistics(
    logits: torch.Tensor,
    labels: torch.Tensor,
    k: int,
    transform: LogitTransform = LogitTransform(),  # noqa: B008  immutable
    known: RowStats | None = None,
) -> RowStats:
    """Statistics of N next-token distributions.

    Args:
        logits: (N, V), any floating dtype. Entries may be -inf, not a whole row.
        labels: (N,) the scored token of every row.
        k: number of ranked candidates K.
        transform: scaling, soft-capping and temperature to apply to the logits.
        known: the statistics of these very rows from an earlier call; they are then not computed again. For the
            recomputation under activation checkpointing.

    Returns:
        (N,) and (N, K) statistics; logprob, entropy and top_logprob carry gradient.

    Raises:
        TooManyCandidates: K is not in 1..V.
    """
    if not 1 <= k <= logits.size(-1):
        raise TooManyCandidates(k, logits.size(-1))
    return RowStats(*_RankedStatistics.apply(logits, labels, k, transform, known))


class _RankedStatistics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, k: int, transform: LogitTransform, known: RowStats | None
    ) -> tuple[torch.Tensor, ...]:
        # Outputs of which nobody takes a gradient (the entropy, mostly) then cost nothing in backward.
        ctx.set_materialize_grads(False)
        stats = _forward(logits, labels, k, transform) if known is None else known.detach()
        ctx.save_for_backward(logits, labels, stats.entropy, stats.logsumexp, stats.top_id)
        ctx.transform = transform
        ctx.mark_non_differentiable(stats.logsumexp, stats.rank, stats.collision, stats.collision_logprob, stats.top_id)
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
        grad_top: Any,
        _ids: Any,
    ) -> tuple[torch.Tensor | None, ...]:
        logits, labels, entropy, logsumexp, top_id = ctx.saved_tensors
        if grad_logprob is None and grad_entropy is None and grad_top is None:
            return None, None, None, None, None
        grad_logits = torch.empty_like(logits)
        for rows in _blocks(logits):
            grad_logits[rows] = _backward(
                logits[rows],
                labels[rows],
                entropy[rows],
                logsumexp[rows],
                top_id[rows],
                None if grad_logprob is None else grad_logprob[rows],
                None if grad_entropy is None else grad_entropy[rows],
                None if grad_top is None else grad_top[rows],
                ctx.transform,
            )
        return grad_logits, None, None, None, None


def _blocks(logits: torch.Tensor) -> list[slice]:
    """Row slices of about `_BLOCK_BYTES` on the CPU; one slice elsewhere, where a kernel launch costs more."""
    n, v = logits.shape
    rows = max(1, _BLOCK_BYTES // (4 * v)) if logits.device.type == "cpu" else max(1, n)
    return [slice(start, min(start + rows, n)) for start in range(0, max(1, n), rows)]


def _forward(logits: torch.Tensor, labels: torch.Tensor, k: int, transform: LogitTransform) -> RowStats:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    blocks = _blocks(logits)
    direct = transform.identity and logits.dtype == dtype
    scratch = [logits.new_empty(blocks[0].stop, logits.size(1), dtype=dtype) for _ in range(2 if direct else 3)]
    if direct:  # candidates are then picked for all rows at once
        maxima = logits.new_empty(len(logits), logits.size(1) // COLUMNS)
        parts = [_moments(logits[rows], scratch, block_maxima(logits[rows], maxima[rows])) for rows in blocks]
        largest, moments = _joined(parts)
        return _ranked(logits, labels, k, maxima, largest, moments, scratch)
    results = []
    for rows in blocks:
        x = transform.apply(logits[rows], dtype, scratch[2][: rows.stop - rows.start])
        maxima = block_maxima(x)
        results.append(_ranked(x, labels[rows], k, maxima, *_moments(x, scratch, maxima), scratch))
    return results[0] if len(results) == 1 else RowStats(*(torch.cat(parts) for parts in zip(*results, strict=True)))


class _Moments(NamedTuple):
    """(N,) each: log Σ exp(x - max), H, Σ p², Σ p² log p."""

    log_sum: torch.Tensor
    entropy: torch.Tensor
    collision: torch.Tensor
    collision_logprob: torch.Tensor


def _joined(parts: list[tuple[torch.Tensor, _Moments]]) -> tuple[torch.Tensor, _Moments]:
    if len(parts) == 1:
        return parts[0]
    moments = _Moments(*(torch.cat(rows) for rows in zip(*(m for _, m in parts), strict=True)))
    return torch.cat([largest for largest, _ in parts]), moments


def _moments(x: torch.Tensor, scratch: list[torch.Tensor], maxima: torch.Tensor) -> tuple[torch.Tensor, _Moments]:
    """The maximum (N, 1) of each row and its sums, worked out in scratch that stays in cache and is never allocated."""
    p, below = (buffer[: len(x)] for buffer in scratch[:2])
    largest, place = _largest(x, maxima)
    torch.softmax(x, dim=-1, out=p)
    log_sum = p.gather(1, place).squeeze(1).log_().neg_()
    # Σ p·x from x - max: with logits of a few hundred the plain sum loses three digits
    torch.sub(x, largest, out=below)
    if x.device.type != "cpu":
        below.clamp_(min=_NO_PROBABILITY)
    expected = below.mul_(p).sum(-1)
    squared = below.mul_(p).sum(-1)
    collision = p.mul_(p).sum(-1)
    moments = _Moments(log_sum, (log_sum - expected).clamp_(min=0), collision, squared - log_sum * collision)
    return largest, _mended(x, largest, moments) if x.device.type == "cpu" else moments


def _mended(x: torch.Tensor, largest: torch.Tensor, moments: _Moments) -> _Moments:
    """Logits of -inf made 0·inf above: those few rows again, with a finite stand-in."""
    rows = moments.entropy.isnan().nonzero().squeeze(1)
    if rows.numel():
        p = torch.softmax(x[rows], dim=-1)
        log_p = (x[rows] - largest[rows] - moments.log_sum[rows].unsqueeze(1)).clamp_(min=_NO_PROBABILITY)
        moments.entropy[rows] = -(p * log_p).sum(-1).clamp_(max=0)
        moments.collision_logprob[rows] = (p * p * log_p).sum(-1)
    return moments


def _largest(x: torch.Tensor, maxima: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The maximum of each row and where it is, (N, 1) each, by way of block maxima."""
    whole = maxima.size(1)
    if not whole:
        value, place = x.max(1, keepdim=True)
        return value, place
    value, block = maxima.max(1, keepdim=True)
    inside = x[:, : whole * COLUMNS].unflatten(1, (whole, COLUMNS))
    inside = inside.gather(1, block.unsqueeze(2).expand(-1, 1, COLUMNS)).squeeze(1)
    place = block * COLUMNS + inside.argmax(1, keepdim=True)
    if whole * COLUMNS < x.size(1):
        rest, column = x[:, whole * COLUMNS :].max(1, keepdim=True)
        later = (rest > value) | rest.isnan()
        place = torch.where(later, column + whole * COLUMNS, place)
        value = torch.where(later, rest, value)
    return value, place


def _ranked(
    x: torch.Tensor,
    labels: torch.Tensor,
    k: int,
    maxima: torch.Tensor,
    largest: torch.Tensor,
    moments: _Moments,
    scratch: list[torch.Tensor],
) -> RowStats:
    top_value, top_id = top_candidates(x, k, maxima)
    sampled = x.gather(1, labels.unsqueeze(1))
    normaliser = largest + moments.log_sum.unsqueeze(1)
    log_sum = moments.log_sum.unsqueeze(1)
    return RowStats(
        logprob=(sampled - largest - log_sum).squeeze(1),
        entropy=moments.entropy,
        logsumexp=normaliser.squeeze(1),
        rank=_rank(x, sampled, top_value, scratch),
        collision=moments.collision,
        collision_logprob=moments.collision_logprob,
        top_logprob=top_value - largest - log_sum,
        top_id=top_id,
    )


def _rank(x: torch.Tensor, sampled: torch.Tensor, top_value: torch.Tensor, scratch: list[torch.Tensor]) -> torch.Tensor:
    """1 + #{v: x_v > x_y}: known from the top K when the sampled logit reaches it, counted for the other rows."""
    rank = (top_value > sampled).sum(1) + 1
    beyond = (sampled < top_value[:, -1:]).squeeze(1).nonzero().squeeze(1)
    for rows in beyond.split(len(scratch[0])) if beyond.numel() else ():
        values, larger = (buffer[: len(rows)] for buffer in scratch[:2])
        torch.index_select(x, 0, rows, out=values)
        torch.gt(values, sampled[rows], out=larger)  # ones in floating point, which add up faster than booleans
        rank[rows] = larger.sum(1).long() + 1  # exact up to a vocabulary of 2^24
    return rank


def _backward(
    logits: torch.Tensor,
    labels: torch.Tensor,
    entropy: torch.Tensor,
    logsumexp: torch.Tensor,
    top_id: torch.Tensor,
    grad_logprob: torch.Tensor | None,
    grad_entropy: torch.Tensor | None,
    grad_top: torch.Tensor | None,
    transform: LogitTransform,
) -> torch.Tensor:
    x = transform.apply(logits, entropy.dtype)
    p = torch.softmax(x, dim=-1)
    weight = torch.zeros_like(entropy)  # what multiplies -p
    if grad_logprob is not None:
        weight = weight + grad_logprob
    if grad_top is not None:
        weight = weight + grad_top.sum(1)
    factor = -weight.unsqueeze(1)
    if grad_entropy is not None:
        log_p = (x - logsumexp.unsqueeze(1)).clamp_(min=_NO_PROBABILITY)
        grad = p.mul_(log_p.add_(entropy.unsqueeze(1)).mul_(-grad_entropy.unsqueeze(1)).add_(factor))
    else:
        grad = p.mul_(factor)
    if grad_logprob is not None:
        grad.scatter_add_(1, labels.unsqueeze(1), grad_logprob.unsqueeze(1).to(grad.dtype))
    if grad_top is not None:
        grad.scatter_add_(1, top_id, grad_top.to(grad.dtype))
    return transform.chain(grad, x)
