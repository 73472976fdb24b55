"""From hidden states to ranked statistics: the LM head over chunks of rows, one chunk of logits alive at a time.

Without gradient the chunks are simply run one after the other. Under gradient a single chunk keeps its logits; with
several, each is recomputed in backward, and its statistics are kept from the first pass, so the recomputation is the
head's matrix product alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

from ..statistics.logit_transform import LogitTransform
from ..statistics.ranked_statistics import ranked_statistics
from ..statistics.token_stats import RowStats

CHUNK_BYTES = {"cpu": 64 << 20}
"""Float32 bytes of a chunk of logits by device type: on the CPU little, elsewhere enough rows to fill the device."""
CHUNK_BYTES_ELSEWHERE = 256 << 20

Head = Callable[[torch.Tensor], torch.Tensor]


def fold(
    head: Head,
    hidden: torch.Tensor,
    labels: torch.Tensor,
    *,
    k: int,
    transform: LogitTransform,
    vocabulary: int,
    chunk_bytes: int | None = None,
) -> RowStats:
    """Statistics of N rows of hidden states.

    Args:
        head: the LM head; called on (n, H), gives (n, V).
        hidden: (N, H). With N = 0 the head is still called, so that it takes part in backward.
        labels: (N,) the scored tokens.
        k: number of ranked candidates K.
        transform: what lies between the head's output and the logits.
        vocabulary: V.
        chunk_bytes: float32 bytes of logits held at a time; None chooses by device.
    """
    budget = chunk_bytes or CHUNK_BYTES.get(hidden.device.type, CHUNK_BYTES_ELSEWHERE)
    rows = max(1, budget // (4 * vocabulary))
    if labels.numel() <= rows:
        return ranked_statistics(head(hidden), labels, k, transform)
    chunks = [
        _Chunk(head, k, transform)(hidden_rows, label_rows)
        for hidden_rows, label_rows in zip(hidden.split(rows), labels.split(rows), strict=True)
    ]
    return RowStats(*(torch.cat(parts) for parts in zip(*chunks, strict=True)))


class _Chunk:
    """One chunk of rows, which remembers its statistics."""

    def __init__(self, head: Head, k: int, transform: LogitTransform) -> None:
        self.head, self.k, self.transform = head, k, transform
        self.known: RowStats | None = None

    def __call__(self, hidden: torch.Tensor, labels: torch.Tensor) -> RowStats:
        if not torch.is_grad_enabled():
            return self._run(hidden, labels)
        stats: RowStats = checkpoint(self._run, hidden, labels, use_reentrant=False, preserve_rng_state=False)
        self.known = stats.detach()
        return stats

    def _run(self, hidden: torch.Tensor, labels: torch.Tensor) -> RowStats:
        return ranked_statistics(self.head(hidden), labels, self.k, self.transform, self.known)
