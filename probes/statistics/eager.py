"""The statistics pass in plain PyTorch: every device and dtype, and the measure of the other implementations.

On the CPU rows are folded in blocks whose scratch stays in cache, in about ten reads of it. The block maxima that find
the largest logit also lead to the candidates; ranks beyond them are counted for the few rows that need it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .logit_transform import LogitTransform
from .token_stats import RowGradientInputs, RowGradients, RowStats
from .topk import COLUMNS, block_maxima, top_candidates

_BLOCK_BYTES = 2 << 20
"""Rows are folded in blocks of about this much scratch on the CPU: what stays in cache is read once from memory."""
NO_PROBABILITY = -1000.0
"""exp of this is 0 in float32 and float64: a finite stand-in for -inf, so that 0·log 0 is 0."""


def forward(logits: torch.Tensor, labels: torch.Tensor, k: int, transform: LogitTransform) -> RowStats:
    """Statistics of (N, V) logits; arguments as in `ranked_statistics`."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    blocks = row_blocks(logits)
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


def backward(
    logits: torch.Tensor,
    labels: torch.Tensor,
    stats: RowGradientInputs,
    grads: RowGradients,
    transform: LogitTransform,
) -> torch.Tensor:
    """The gradient (N, V) by the logits, in their dtype."""
    grad_logits = torch.empty_like(logits)
    for rows in row_blocks(logits):
        grad_logits[rows] = _block_gradient(logits[rows], labels[rows], stats.of(rows), grads.of(rows), transform)
    return grad_logits


def row_blocks(logits: torch.Tensor) -> list[slice]:
    """Row slices of about `_BLOCK_BYTES` on the CPU; one slice elsewhere, where a kernel launch costs more."""
    n, v = logits.shape
    rows = max(1, _BLOCK_BYTES // (4 * v)) if logits.device.type == "cpu" else max(1, n)
    return [slice(start, min(start + rows, n)) for start in range(0, max(1, n), rows)]


class _Moments(NamedTuple):
    """(N,) each: log Σ exp(x - max), H, Σ p², Σ p² log p, Σ p² (log p + H)²."""

    log_sum: torch.Tensor
    entropy: torch.Tensor
    collision: torch.Tensor
    collision_logprob: torch.Tensor
    entropy_slope: torch.Tensor


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
        below.clamp_(min=NO_PROBABILITY)
    expected = below.mul_(p).sum(-1)
    square = torch.linalg.vector_norm(below, dim=-1).square_()
    squared = below.mul_(p).sum(-1)
    collision = p.mul_(p).sum(-1)
    # log p + H is x - max less its mean
    slope = (square - 2 * expected * squared + expected.square() * collision).clamp_(min=0)
    moments = _Moments(log_sum, (log_sum - expected).clamp_(min=0), collision, squared - log_sum * collision, slope)
    return largest, _mended(x, largest, moments) if x.device.type == "cpu" else moments


def _mended(x: torch.Tensor, largest: torch.Tensor, moments: _Moments) -> _Moments:
    """Logits of -inf made 0·inf above: those few rows again, with a finite stand-in."""
    rows = moments.entropy.isnan().nonzero().squeeze(1)
    if rows.numel():
        p = torch.softmax(x[rows], dim=-1)
        log_p = (x[rows] - largest[rows] - moments.log_sum[rows].unsqueeze(1)).clamp_(min=NO_PROBABILITY)
        moments.entropy[rows] = -(p * log_p).sum(-1).clamp_(max=0)
        moments.collision_logprob[rows] = (p * p * log_p).sum(-1)
        moments.entropy_slope[rows] = (p * (log_p + moments.entropy[rows].unsqueeze(1))).square().sum(-1)
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
        entropy_slope=moments.entropy_slope,
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


def _block_gradient(
    logits: torch.Tensor,
    labels: torch.Tensor,
    stats: RowGradientInputs,
    grads: RowGradients,
    transform: LogitTransform,
) -> torch.Tensor:
    x = transform.apply(logits, stats.entropy.dtype)
    p = torch.softmax(x, dim=-1)
    factor = -grads.weight(stats.entropy).unsqueeze(1)
    if grads.entropy is not None:
        log_p = (x - stats.logsumexp.unsqueeze(1)).clamp_(min=NO_PROBABILITY)
        grad = p.mul_(log_p.add_(stats.entropy.unsqueeze(1)).mul_(-grads.entropy.unsqueeze(1)).add_(factor))
    else:
        grad = p.mul_(factor)
    if grads.logprob is not None:
        grad.scatter_add_(1, labels.unsqueeze(1), grads.logprob.unsqueeze(1).to(grad.dtype))
    if grads.top_logprob is not None:
        grad.scatter_add_(1, stats.top_id, grads.top_logprob.to(grad.dtype))
    return transform.chain(grad, x)
