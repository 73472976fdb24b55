"""The K largest logits of every row, exact and with a tie rule: equal values are ordered by index, lowest first."""

from __future__ import annotations

import torch

COLUMNS = 256
"""Width of a vocabulary block in the two-level top-K."""


def block_maxima(x: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """(N, V // 256) the largest entry of each whole block of columns of (N, V); in `out` where given."""
    whole = x.size(1) // COLUMNS
    return torch.amax(x[:, : whole * COLUMNS].unflatten(1, (whole, COLUMNS)), 2, out=out)


def top_candidates(x: torch.Tensor, k: int, maxima: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The K largest entries of every row (N, V), descending; equal values by index, lowest first.

    `torch.topk` leaves the order of equal values open and may return any of those that tie at the boundary, which
    happens often in bfloat16. One candidate more than asked for shows which rows tie there; only those are repaired.

    Args:
        x: (N, V).
        k: how many.
        maxima: `block_maxima(x)`, where they are known already.

    Returns:
        values (N, K) and indices (N, K) int64.
    """
    value, index = _two_level_topk(x, min(k + 1, x.size(1)), maxima)
    if value.size(1) > k:
        tied = (value[:, k - 1] == value[:, k]).nonzero().squeeze(1)
        if tied.numel():
            value[tied, :k], index[tied, :k] = _repair(x[tied], value[tied, :k], index[tied, :k])
    return _order(value[:, :k], index[:, :k])


def _order(value: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort by value descending, then index ascending."""
    index, by_index = index.sort(dim=1)
    value, by_value = value.gather(1, by_index).sort(dim=1, descending=True, stable=True)
    return value, index.gather(1, by_value)


def _repair(x: torch.Tensor, value: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Among the entries equal to the K-th value, take the lowest indices."""
    v, k = x.size(1), value.size(1)
    boundary = value[:, -1:]
    # Distinct positive keys that grow towards low indices, 0 where the entry does not tie
    keys = torch.arange(v, 0, -1, device=x.device, dtype=torch.int32).expand_as(x).masked_fill(x != boundary, 0)
    key, equal_index = _two_level_topk(keys, k)
    # Slots to be dropped get -inf and an index beyond all others, so that they sort last even among -inf
    greater, equal = value > boundary, key > 0
    value = torch.cat([value, boundary.expand_as(value)], 1).masked_fill(~torch.cat([greater, equal], 1), -torch.inf)
    index = torch.cat([index.masked_fill(~greater, v), equal_index.masked_fill(~equal, v)], 1)
    value, index = _order(value, index)
    return value[:, :k], index[:, :k]


def _two_level_topk(x: torch.Tensor, k: int, maxima: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """`torch.topk` by way of block maxima: the K largest entries lie in the K blocks with the largest maxima."""
    n, v = x.shape
    whole = v // COLUMNS
    if whole < 2 * k + 2:
        value, index = x.topk(k, dim=1)
        return value, index
    maxima = block_maxima(x) if maxima is None else maxima
    chosen = maxima.topk(k, dim=1).indices
    blocks = x[:, : whole * COLUMNS].unflatten(1, (whole, COLUMNS))
    candidates = blocks.gather(1, chosen.unsqueeze(2).expand(n, k, COLUMNS)).flatten(1)
    ids = (chosen.unsqueeze(2) * COLUMNS + torch.arange(COLUMNS, device=x.device)).flatten(1)
    if whole * COLUMNS < v:  # the columns after the last whole block
        candidates = torch.cat([candidates, x[:, whole * COLUMNS :]], 1)
        ids = torch.cat([ids, torch.arange(whole * COLUMNS, v, device=x.device).expand(n, -1)], 1)
    value, slot = candidates.topk(k, dim=1)
    return value, ids.gather(1, slot)
