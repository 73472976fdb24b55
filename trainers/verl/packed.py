"""Responses inside the rows of a packed forward: their statistics at (B, T), and back into the rows.

verl scores a micro-batch as one row of all its sequences, prompt and response after one another: logits (N, V), of
which row r predicts token r + 1. Unpacked, it is the same with padding between: (B·L, V). B sequences, T positions of
the longest response.

The logits are cut into views, never indexed or copied, and backward puts their gradients together once: N·V is what
fills the memory of a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from ...probes.head.chunked import CHUNK_BYTES, CHUNK_BYTES_ELSEWHERE
from ...probes.statistics.logit_transform import LogitTransform
from ...probes.statistics.ranked_statistics import ranked_statistics
from ...probes.statistics.token_stats import RowStats, TokenStats


class ResponseRows(NamedTuple):
    """Which rows of N predict the tokens of each of B responses.

    Attributes:
        starts: row that predicts the first token of a response, ascending.
        lengths: tokens of each response; 0 for none.
        width: T, at least the longest length.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    width: int

    @classmethod
    def packed(cls, offsets: Sequence[int], lengths: Sequence[int], width: int | None = None) -> ResponseRows:
        """Of sequences that lie one after another and end with their responses.

        Args:
            offsets: (B + 1) where sequences begin and the last one ends: `cu_seqlens`.
            lengths: (B,) tokens of each response, fewer than its sequence has.
            width: T; None: the longest response.

        Raises:
            ValueError: a response has nothing before it that could predict its first token.
        """
        return cls._before(offsets[1:], [b - a for a, b in pairwise(offsets)], lengths, width)

    @classmethod
    def padded(
        cls, sequences: Sequence[int], lengths: Sequence[int], stride: int, width: int | None = None
    ) -> ResponseRows:
        """Of sequences that begin at multiples of `stride`, padding behind them.

        Args:
            sequences: (B,) tokens of each sequence.
            lengths, width: as above.
            stride: L.
        """
        ends = [i * stride + n for i, n in enumerate(sequences)]
        return cls._before(ends, sequences, lengths, width)

    @classmethod
    def _before(
        cls, ends: Sequence[int], sequences: Sequence[int], lengths: Sequence[int], width: int | None
    ) -> ResponseRows:
        for sequence, length in zip(sequences, lengths, strict=True):
            if length and not length < sequence:
                raise ValueError(f"a response of {length} tokens in a sequence of {sequence} has no prompt before it")
        starts = [end - length - 1 for end, length in zip(ends, lengths, strict=True)]
        longest = max(lengths, default=0)
        return cls(tuple(starts), tuple(lengths), longest if width is None else width)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First row and number of rows of the responses that have any."""
        return [(s, n) for s, n in zip(self.starts, self.lengths, strict=True) if n]

    def row_index(self, device: torch.device | str) -> torch.Tensor:
        """(R,) every row that predicts a token of a response, in order."""
        parts = [torch.arange(s, s + n) for s, n in self.spans]
        return (torch.cat(parts) if parts else torch.empty(0, dtype=torch.long)).to(device)

    def inside(self, device: torch.device | str) -> torch.Tensor:
        """(B, T) bool, where a response has a token."""
        length = torch.tensor(self.lengths, device=device).unsqueeze(1)
        return torch.arange(self.width, device=device) < length

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, T) the values of (N,) rows at the tokens of the responses, 0 elsewhere; carries gradient."""
        inside = self.inside(rows.device)
        return rows.new_zeros(inside.shape).masked_scatter(inside, rows[self.row_index(rows.device)])

    def place(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """(N,) rows with the values (B, T) put at the tokens of the responses, in the values' type and with their
        gradient."""
        index = self.row_index(rows.device)
        return rows.detach().to(values.dtype).index_copy(0, index, values[self.inside(values.device)])


def response_statistics(
    logits: torch.Tensor, tokens: torch.Tensor, rows: ResponseRows, k: int, temperature: float
) -> TokenStats:
    """Ranked statistics of the tokens of responses.

    Args:
        logits: (N, V), with gradient or without.
        tokens: (R,) the tokens of the responses, one response after another, as `rows.row_index` counts them.
        rows: where they are.
        k: number of ranked candidates K.
        temperature: what the logits are divided by.

    Returns:
        (B, T) statistics, masked to the tokens there are.

    Raises:
        TooManyCandidates: K is not in 1..V.
    """
    most = max(1, CHUNK_BYTES.get(logits.device.type, CHUNK_BYTES_ELSEWHERE) // (4 * logits.size(1)))
    sizes, wanted = cut(logits.size(0), rows.spans, most)
    views = logits.split(sizes)
    chunks, transform, used = [], LogitTransform(temperature=temperature), 0
    for piece in wanted:
        labels = tokens[used : used + sizes[piece]]
        chunks.append(ranked_statistics(views[piece], labels, k, transform))
        used += sizes[piece]
    if not chunks:
        chunks.append(ranked_statistics(logits[:0], tokens[:0], k, transform))
    inside = rows.inside(logits.device)
    labels = tokens.new_zeros(inside.shape).masked_scatter(inside, tokens)
    return RowStats(*(torch.cat(parts) for parts in zip(*chunks, strict=True))).scatter(inside, labels)


def cut(total: int, spans: Sequence[tuple[int, int]], most: int) -> tuple[list[int], list[int]]:
    """How to split `total` rows so that every span is made of whole pieces of at most `most` rows.

    Args:
        total: N.
        spans: first row and number of rows of each, ascending and apart.
        most: rows of a piece.

    Returns:
        sizes of the pieces, and which pieces belong to the spans.
    """
    sizes: list[int] = []
    wanted: list[int] = []
    at = 0
    for start, count in spans:
        if start > at:
            sizes.append(start - at)
        for first in range(0, count, most):
            wanted.append(len(sizes))
            sizes.append(min(most, count - first))
        at = start + count
    if total > at or not sizes:
        sizes.append(total - at)
    return sizes, wanted
