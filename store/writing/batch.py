"""What a probe hands to the recorder: one scored micro-batch as NumPy arrays.

Shapes: B responses, T token positions, K ranked candidates. `mask` is the one mask of the loss: positions outside it
are never written and never counted. Log-probabilities and entropies are in nats, float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layout.schema import VERDICTS, Verdict

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Credit:
    """What the loss does at each token: it moves the logits x along w(ẽ - p) + h·∂H/∂x (see `docs/metrics.md`).

    The target is ẽ = (1 - s)·e_y + s·Σ_k share_k e_{v_k} with the share of the top `smoothing_k` candidates equal
    (`uniform`) or by their probability (`softmax`).

    Attributes:
        weight: (B, T) w, in units in which the loss's own normaliser is 1: Aγ for a policy-gradient loss, 0 where
            clipped.
        ratio: (B, T) γ.
        smoothing: (B, T) s.
        entropy_weight: (B, T) h, or None where the loss has no entropy term.
        entropy_slope: (B, T) Σ_v p_v² (log p_v + H)²; needed with `entropy_weight` alone.
        smoothing_k: how many candidates share s.
        smoothing_weighting: `uniform` or `softmax`.
    """

    weight: Array
    ratio: Array
    smoothing: Array
    entropy_weight: Array | None = None
    entropy_slope: Array | None = None
    smoothing_k: int = 0
    smoothing_weighting: str = "uniform"


@dataclass(frozen=True)
class Shift:
    """How log p(rank k) and the entropy of some tokens changed by an optimizer step, measured by scoring them again.

    Attributes:
        verdict: (B,) int8, index into `schema.VERDICTS`.
        mask: (B, T) bool, tokens that count in the loss.
        forking: (B, T) bool, under the distributions before the step.
        shift: (B, T, K) after minus before.
        entropy_shift: (B, T) the same of the entropy; None where it is not known.
    """

    verdict: Array
    mask: Array
    forking: Array
    shift: Array
    entropy_shift: Array | None = None


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
        entropy: (B, T) exact entropy; None where whole distributions were not seen (`collision`, `forking` as well).
        collision: (B, T) Σ_v p_v².
        forking: (B, T) bool.
        top_logprob: (B, T, K) log-probability of rank 1..K.
        top_id: (B, T, K) int, their vocabulary ids.
        credit: what the loss does at each token, or None where no loss was seen.
        sampler_logprob: (B, T) log-probability that the sampler reported for the token when it drew it, NaN where it
            reported none; None where no sampler reports any.
        collision_logprob: (B, T) Σ_v p_v² log p_v; None where it is not known, and with it the entropy push.
        responses: columns of `responses` for rows to write with the batch, where nobody else writes them.
    """

    step: int
    response_id: Array
    verdict: Array
    mask: Array
    token_id: Array
    logprob: Array
    rank: Array
    entropy: Array | None
    collision: Array | None
    forking: Array | None
    top_logprob: Array
    top_id: Array
    credit: Credit | None = None
    sampler_logprob: Array | None = None
    collision_logprob: Array | None = None
    responses: Mapping[str, Sequence[Any]] | None = None


def verdict_codes(verdicts: list[Verdict]) -> npt.NDArray[np.int8]:
    """(B,) codes of `TokenBatch.verdict` for a list of verdict names."""
    return np.array([VERDICTS.index(v) for v in verdicts], dtype=np.int8)
