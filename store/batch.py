"""What a probe hands to the recorder: one scored micro-batch as NumPy arrays.

Shapes: B responses, T token positions, K ranked candidates. `mask` is the one mask of the loss: positions outside it
are never written and never counted. Log-probabilities and entropies are in nats, float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .schema import VERDICTS, Verdict

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TokenBatch:
    """The statistics of one scored micro-batch.

    Attributes:
        step: optimizer step whose loss scored the batch (1, 2, …).
        response_id: (B,) int64.
        verdict: (B,) int8, index into `schema.VERDICTS`.
        mask: (B, T) bool, True where the token counts in the loss.
        token_id: (B, T) int, the sampled tokens.
        logprob: (B, T) log-probability of the sampled token.
        rank: (B, T) int, rank of the sampled token, from 1.
        entropy: (B, T) exact entropy.
        collision: (B, T) Σ_v p_v².
        forking: (B, T) bool.
        top_logprob: (B, T, K) log-probability of rank 1..K.
        top_id: (B, T, K) int, their vocabulary ids.
        log_rows: (B,) bool or None: responses whose token rows are written (None: all). Rollups count every response.
    """

    step: int
    response_id: Array
    verdict: Array
    mask: Array
    token_id: Array
    logprob: Array
    rank: Array
    entropy: Array
    collision: Array
    forking: Array
    top_logprob: Array
    top_id: Array
    log_rows: Array | None = None


def verdict_codes(verdicts: list[Verdict]) -> npt.NDArray[np.int8]:
    """(B,) codes of `TokenBatch.verdict` for a list of verdict names."""
    return np.array([VERDICTS.index(v) for v in verdicts], dtype=np.int8)
