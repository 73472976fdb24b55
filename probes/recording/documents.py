"""Packed and padding-free rows: where one row of a forward holds several documents, each becomes a response of its own.

A forward says where documents begin in one of three ways: `position_ids` that start again, cumulative lengths for
FlashAttention (`cu_seq_lens_q`), or `seq_idx`, the index of each token's document. The first token of a document is
predicted by nothing: it is never scored as what follows the document before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from ..statistics.token_stats import TokenStats

_LENGTHS = ("cu_seq_lens_q", "cu_seqlens", "cu_seqlens_q")
BOUNDARIES = ("position_ids", "seq_idx", *_LENGTHS)
"""The arguments of a forward that say where documents begin."""


class Documents(NamedTuple):
    """D documents in the rows of a forward, row by row: tensors (D,), positions counted as in `input_ids`.

    Attributes:
        row: which row it is in.
        start: position of its first token.
        end: position after its last one.
    """

    row: torch.Tensor
    start: torch.Tensor
    end: torch.Tensor


def documents_of(inputs: Mapping[str, Any]) -> Documents | None:
    """The documents in the rows of a forward; None where no row holds more than one.

    Args:
        inputs: its arguments, `None` where not given: `input_ids` (B, T), `attention_mask`, and `BOUNDARIES`.
    """
    ids = inputs["input_ids"]
    starts = None if ids is None or inputs["virtual_tokens"] else _starts(inputs, ids)  # PEFT drops position_ids there
    if starts is None:
        return None
    attended = _attended(inputs, ids)
    starts[:, 0] = True
    row, start = starts.nonzero(as_tuple=True)
    # Up to the next start, which is that of the next row at the latest
    width = ids.size(1)
    following = torch.cat([(row * width + start)[1:], row.new_tensor([starts.numel()])])
    end = following - row * width
    # What holds padding alone is no document
    counted = torch.cat([attended.new_zeros(1, dtype=torch.long), attended.flatten().long().cumsum(0)])
    real = counted[following] > counted[row * width + start]
    row, start, end = row[real], start[real], end[real]
    # Nor are single tokens at the end of a row: padding-free collators give each token of padding the position 0
    order, long = torch.arange(len(row), device=row.device), end - start > 1
    last = order.new_full((ids.size(0),), -1).scatter_reduce(0, row[long], order[long], "amax")[row]
    kept = (order <= last) | (last < 0)
    row, start, end = row[kept], start[kept], end[kept]
    if not bool((row.bincount(minlength=ids.size(0)) > 1).any()):
        return None
    return Documents(row, start, end)


def split(
    stats: TokenStats, inputs: Mapping[str, Any], documents: Documents
) -> tuple[TokenStats, dict[str, torch.Tensor]]:
    """The statistics and inputs of a forward with one row per document.

    Args:
        stats: (B, S) statistics, of the last S tokens of `input_ids`.
        inputs: as for `documents_of`, `input_ids` (B, T) and perhaps `attention_mask`.
        documents: D of them, the longest with L tokens.

    Returns:
        Statistics (D, L - 1), and `input_ids` and `attention_mask` (D, L), which is False after a document's end. The
        first token of each document is not scored.
    """
    device = stats.mask.device
    ids, attended = inputs["input_ids"].to(device), _attended(inputs, inputs["input_ids"]).to(device)
    row, start, end = (part.to(device).unsqueeze(1) for part in documents)
    column = start + torch.arange(int((end - start).max()), device=device)
    inside = column < end
    column = column.clamp(max=ids.size(1) - 1)
    parts = {"input_ids": ids[row, column], "attention_mask": attended[row, column] & inside}
    # A head that is given `shift_labels` has a position more: the one after its last input
    offset = 1 if stats.mask.size(1) == ids.size(1) else ids.size(1) - stats.mask.size(1)
    scored = column[:, 1:] - offset
    there = inside[:, 1:] & (scored >= 0)
    scored = scored.clamp(min=0)

    def take(field: torch.Tensor) -> torch.Tensor:
        taken = field[row, scored]
        return taken.masked_fill(~(there if taken.dim() == 2 else there.unsqueeze(-1)), 0)

    return TokenStats(*(take(field) for field in stats)), parts


def _starts(inputs: Mapping[str, Any], ids: torch.Tensor) -> torch.Tensor | None:
    """(B, T) bool, where something new begins (a document, or padding); None where the forward does not say."""
    lengths = next((inputs[name] for name in _LENGTHS if isinstance(inputs[name], torch.Tensor)), None)
    if lengths is not None:
        result = ids.new_zeros(ids.numel() + 1, dtype=torch.bool)
        result[lengths.flatten().long().clamp(max=ids.numel())] = True
        return result[:-1].view(ids.shape)
    index, positions = inputs["seq_idx"], inputs["position_ids"]
    if isinstance(index, torch.Tensor) and index.shape == ids.shape:
        return torch.nn.functional.pad(index[:, 1:] != index[:, :-1], (1, 0))
    # Positions with an axis more are of images and time, and start again within a document
    if isinstance(positions, torch.Tensor) and positions.dim() == 2 and positions.size(1) == ids.size(1):
        again = (positions[:, 1:] == 0) | (positions[:, 1:] < positions[:, :-1])
        return torch.nn.functional.pad(again, (1, 0)).expand(ids.shape).clone()
    return None


def _attended(inputs: Mapping[str, Any], ids: torch.Tensor) -> torch.Tensor:
    """(B, T) bool, the tokens that are no padding as far as the forward says."""
    mask = inputs["attention_mask"]
    if isinstance(mask, torch.Tensor) and mask.dim() == 2 and mask.size(1) >= ids.size(1):
        return mask[:, -ids.size(1) :].bool()
    return torch.ones_like(ids, dtype=torch.bool)
