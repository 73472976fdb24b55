"""The K largest logits of every row, exact and with a tie rule: equal values are ordered by index, lowest first."""

from __future__ import annotations

import torch

_COLUMNS = 256
"""Width of a vocabulary block in the two-level top-K."""


def top_candidates(x: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The K largest entries of every row (N, V), descending; equal values by index, lowest first.

    `torch.topk` leaves the order of equal values open and may return any of those that tie at the boundary, which
    happens often in bfloat16. One candidate more than asked for shows which rows tie there; only those are repaired.

    Returns:
        values (N, K) and indices (N, K) int64.
    """
    value, index = _two_level_topk(x, min(k + 1, x.size(1)))
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


def _two_level_topk(x: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`torch.topk` by way of block maxima: the K largest entries lie in the K blocks with the largest maxima."""
    n, v = x.shape
    whole = v // _COLUMNS
    if whole < 2 * k + 2:
        value, index = x.topk(k, dim=1)
        return value, index
    blocks = x[:, : whole * _COLUMNS].unflatten(1, (whole, _COLUMNS))
    chosen = blocks.amax(2).topk(k, dim=1).indices
    candidates = blocks.gather(1, chosen.unsqueeze(2).expand(n, k, _COLUMNS)).flatten(1)
    candidate_ids = (chosen.unsqueeze(2) * _COLUMNS + torch.arange(_COLUMNS, device=x.device)).flatten(1)
    rest = torch.arange(whole * _COLUMNS, v, device=x.device).expand(n, -1)
    value, slot = torch.cat([candidates, x[:, whole * _COLUMNS :]], 1).topk(k, dim=1)
    return value, torch.cat([candidate_ids, rest], 1).gather(1, slot)
