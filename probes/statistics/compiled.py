"""The statistics pass with its sums compiled: `torch.compile` makes one loop of what plain PyTorch reads ten times.

Opt-in (`SIMKO_KERNEL=compile`): the first call takes seconds to compile. Candidates are found as in `eager`, through
block maxima; the gradient is that of `eager`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from .eager import backward, row_blocks
from .logit_transform import LogitTransform
from .token_stats import RowStats
from .topk import COLUMNS, block_maxima, top_candidates

__all__ = ["backward", "forward"]


def forward(logits: torch.Tensor, labels: torch.Tensor, k: int, transform: LogitTransform) -> RowStats:
    """Statistics of (N, V) logits; arguments as in `ranked_statistics`."""
    parts = [_rows(logits[rows], labels[rows], k, transform) for rows in row_blocks(logits)]
    return RowStats(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


def _rows(logits: torch.Tensor, labels: torch.Tensor, k: int, transform: LogitTransform) -> RowStats:
    x = transform.apply(logits, torch.float32)
    sampled = x.gather(1, labels.unsqueeze(1))
    maxima = block_maxima(x)
    rest = x[:, maxima.size(1) * COLUMNS :]
    largest = torch.cat([maxima, rest], 1).amax(1, keepdim=True)
    total, moment, total_2, moment_2, square_2, above = _sums()(x, largest, sampled)
    log_sum, mean = total.log(), moment / total
    top_value, top_id = top_candidates(x, k, maxima)
    normaliser = largest.squeeze(1) + log_sum
    return RowStats(
        logprob=(sampled - largest).squeeze(1) - log_sum,
        entropy=(log_sum - mean).clamp(min=0),
        logsumexp=normaliser,
        rank=above.long() + 1,
        collision=total_2 / total.square(),
        collision_logprob=(moment_2 - log_sum * total_2) / total.square(),
        entropy_slope=((square_2 - 2 * mean * moment_2 + mean.square() * total_2) / total.square()).clamp(min=0),
        top_logprob=top_value - largest - log_sum.unsqueeze(1),
        top_id=top_id,
    )


def _formula(x: torch.Tensor, largest: torch.Tensor, sampled: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Σe, Σe·d, Σe², Σe²·d, Σe²·d² with d = x - max and e = exp d; how many logits lie above the sampled one."""
    below = x - largest
    e = below.exp()
    weighted = e * below.clamp(min=-1000.0)  # 0 where the logit is -inf
    squares = (e * e).sum(1), (e * weighted).sum(1), (weighted * weighted).sum(1)
    return e.sum(1), weighted.sum(1), *squares, (x > sampled).float().sum(1)


@functools.cache
def _sums() -> Callable[..., Any]:
    return torch.compile(_formula, dynamic=True)
