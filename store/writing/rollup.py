"""Exact sums over every scored token of a step, by verdict: what live pages read instead of the token rows.

Sums are float64 over float32 statistics. A token one of whose statistics is NaN or infinite is counted in `n_nonfinite`
and left out of every sum; a response keeps the mean over its other tokens. Where whole distributions were not seen,
what needs them (entropy, collision probability, forking tokens) is NULL.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout.schema import ENTROPY_BIN_WIDTH, ENTROPY_BINS, VERDICTS
from .batch import Array, Shift, TokenBatch
from .push import entropy_push, push_on_ranks


class Rollup:
    """The sums of one step, added up batch by batch; `rows()` gives one row per verdict that occurred."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._sums: dict[int, dict[str, Any]] = {}

    def add(self, batch: TokenBatch) -> None:
        """Count a scored micro-batch of shape (B, T, K)."""
        top = batch.top_logprob[..., : self._k].astype(np.float64)
        logprob = batch.logprob.astype(np.float64)
        seen = [values.astype(np.float64) for values in (batch.entropy, batch.collision) if values is not None]
        finite = np.isfinite(logprob) & np.isfinite(top).all(-1)
        for values in seen:
            finite &= np.isfinite(values)
        if batch.collision_logprob is not None:
            finite &= np.isfinite(batch.collision_logprob)
        counted = batch.mask & finite
        push, of_entropy = push_on_ranks(batch, self._k), entropy_push(batch)
        for code in np.unique(batch.verdict):
            rows = batch.verdict == code
            mask = counted[rows]
            ranked = np.where(mask[..., None], top[rows], 0.0)
            self._add(
                int(code),
                mask,
                batch.mask[rows] & ~finite[rows],
                batch.rank[rows] == 1,
                np.where(mask, logprob[rows], 0.0),
                ranked,
            )
            if batch.forking is None:
                continue
            forking = batch.forking[rows] & mask
            entropy, collision = (np.where(mask, values[rows], 0.0) for values in seen)
            self._add_whole(int(code), mask, forking, entropy, collision, ranked)
            unknown = np.full((*mask.shape, self._k), np.nan)
            self._add_split(int(code), "push", unknown if push is None else push[rows], mask, forking)
            alone = unknown[..., 0] if of_entropy is None else of_entropy[rows]
            self._add_split(int(code), "entropy_push", alone, mask, forking)

    def add_shift(self, shift: Shift) -> None:
        """Count a micro-batch that was scored again after its step."""
        for code in np.unique(shift.verdict):
            rows = shift.verdict == code
            counted = shift.mask[rows] & np.isfinite(shift.shift[rows]).all(-1)
            if shift.entropy_shift is not None:
                counted &= np.isfinite(shift.entropy_shift[rows])
            self._into(self._sums.setdefault(int(code), {}), n_rescored=int(counted.sum()))
            forking = shift.forking[rows] & counted
            self._add_split(int(code), "shift", shift.shift[rows][..., : self._k], counted, forking)
            if shift.entropy_shift is not None:
                self._add_split(int(code), "entropy_shift", shift.entropy_shift[rows], counted, forking)

    def _add_split(self, code: int, name: str, values: Array, counted: Array, forking: Array) -> None:
        """Add (B, T) or (B, T, K) values to `sum_<name>` and `forking_sum_<name>`; NaN makes the sums unknown."""
        sums = {f"sum_{name}": counted, f"forking_sum_{name}": forking}
        deep = (..., *(None,) * (values.ndim - 2))
        terms = {key: np.where(where[deep], values, 0.0).sum((0, 1), np.float64) for key, where in sums.items()}
        self._into(self._sums.setdefault(code, {}), **terms)

    def _add(self, code: int, mask: Array, nonfinite: Array, first: Array, logprob: Array, top: Array) -> None:
        """Add what the scored tokens and their candidates tell."""
        mean, batch_has = _mean_weights(mask)
        probability = np.where(mask[..., None], np.exp(top), 0.0)
        self._into(
            self._sums.setdefault(code, {}),
            n_responses=int(batch_has.sum()),
            n_tokens=int(mask.sum()),
            n_rank_1=int((first & mask).sum()),
            n_nonfinite=int(nonfinite.sum()),
            sum_logprob=logprob.sum(),
            response_sum_logprob=(logprob.sum(1) * mean)[batch_has].sum(),
            sum_logp=top.sum((0, 1)),
            sum_p=probability.sum((0, 1)),
            response_sum_logp=(top.sum(1) * mean[:, None]).sum(0),
        )

    def _add_whole(self, code: int, mask: Array, forking: Array, entropy: Array, collision: Array, top: Array) -> None:
        """Add what takes the whole distributions."""
        mean, batch_has = _mean_weights(mask)
        bins = np.clip(entropy[mask] / ENTROPY_BIN_WIDTH, 0, ENTROPY_BINS - 1).astype(np.int64)
        probability = np.where(mask[..., None], np.exp(top), 0.0)
        forked = forking[..., None]
        self._into(
            self._sums.setdefault(code, {}),
            n_forking=int(forking.sum()),
            sum_entropy=entropy.sum(),
            sum_collision=collision.sum(),
            response_sum_entropy=(entropy.sum(1) * mean)[batch_has].sum(),
            forking_sum_logp=(top * forked).sum((0, 1)),
            forking_sum_p=(probability * forked).sum((0, 1)),
            entropy_histogram=np.bincount(bins, minlength=ENTROPY_BINS),
        )

    @staticmethod
    def _into(sums: dict[str, Any], **terms: Any) -> None:
        for name, term in terms.items():
            sums[name] = sums[name] + term if name in sums else term

    def rows(self, step: int) -> list[dict[str, Any]]:
        """One row per verdict, as in `schema.ROLLUPS` without attempt and worker.

        A step in which nothing was counted gives one row of zeros: this process has reported it all the same.
        """
        if not self._sums:
            none = np.zeros((0, 0))
            no, code, top = none.astype(bool), VERDICTS.index("unjudged"), np.zeros((0, 0, self._k))
            self._add(code, no, no, no, none, top)
            self._add_whole(code, no, no, none, none, top)
        rows = []
        for code, sums in sorted(self._sums.items()):
            row: dict[str, Any] = {"step": step, "verdict": VERDICTS[code]}
            for name, value in sums.items():
                if name == "entropy_histogram":
                    row[name] = value.tolist()
                elif isinstance(value, np.ndarray):
                    row |= {f"{name}_{rank}": float(v) for rank, v in enumerate(value, 1)}
                else:
                    row[name] = value
            rows.append(row)
        return rows


def _mean_weights(mask: Array) -> tuple[Array, Array]:
    """One over the length of each response (0 where it has no token), and which have one."""
    length = mask.sum(1)
    mean: Array = np.divide(1.0, length, out=np.zeros(len(length)), where=length > 0)
    return mean, length > 0
