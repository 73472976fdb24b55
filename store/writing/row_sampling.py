"""Which token rows of a run are written, and how exactly: the rows a long run can do without.

Roll-ups never depend on this: they count every scored token, in full precision, whatever is written of it. Steps and
responses are chosen by number and by hash, so every rank, epoch and attempt chooses the same ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import LoggedRowsInvalid

Precision = Literal["float32", "bfloat16"]
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class LoggedRows:
    """What is written of the token rows.

    Attributes:
        every: rows of step 1 and of each step that is a multiple of it.
        responses: share of the responses, whole ones, in (0, 1].
        precision: of the candidates' log-probabilities; `bfloat16` keeps 8 significant bits (within 0.2 % of the
            value), the sampled token's and the entropy stay float32.
        seed: another one chooses other responses.

    Raises:
        LoggedRowsInvalid: a value is out of its range.
    """

    every: int = 1
    responses: float = 1.0
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise LoggedRowsInvalid(f"token rows of every {self.every} steps: give 1 (all steps) or more")
        if not 0 < self.responses <= 1:
            raise LoggedRowsInvalid(f"token rows of a share of {self.responses} of the responses: it lies in (0, 1]")
        if self.precision not in get_args(Precision):
            known = " or ".join(get_args(Precision))
            raise LoggedRowsInvalid(f"log-probabilities in {self.precision}: give {known}")

    def step(self, step: int) -> bool:
        """Whether a step's token rows are written."""
        return step == 1 or step % self.every == 0

    def of(self, response_id: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """(B,) which responses' token rows are written (SplitMix64 of id and seed below the share)."""
        if self.responses == 1:
            return np.ones(len(response_id), bool)
        start = (self.seed + 1) * _GOLDEN % 2**64
        with np.errstate(over="ignore"):
            x = response_id.astype(np.int64).astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(start)
            x = (x ^ (x >> np.uint64(30))) * _MIX[0]
            x = (x ^ (x >> np.uint64(27))) * _MIX[1]
            x = x ^ (x >> np.uint64(31))
        below: npt.NDArray[np.bool_] = (x >> np.uint64(11)) * 2.0**-53 < self.responses
        return below

    def stored(self, logprob: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Log-probabilities as they are written: float32 values, rounded to the nearest bfloat16 (ties to even)."""
        if self.precision == "float32":
            return logprob
        bits = np.ascontiguousarray(logprob, np.float32).view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        return np.where(np.isfinite(logprob), rounded.view(np.float32), logprob)

    def describe(self) -> dict[str, Any]:
        """The entries for `run.json`."""
        return asdict(self)
