"""Intervals over seeds and problems: the two-level percentile bootstrap, widened for few seeds.

A study has few seeds and many problems, and both are samples. Every resample draws seeds and problems with
replacement. A percentile interval over a handful of seeds is too narrow, so its level is moved outwards as a Student-t
interval is wider than a normal one (the expanded percentile interval, Hesterberg 2015, section 4.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
RESAMPLES = 2000
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t with 1..10 degrees of freedom."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its spread and interval.

    Attributes:
        mean: over seeds (and problems).
        deviation: standard deviation between seeds (N - 1); NaN with one seed.
        low, high: 95 % interval; NaN with one seed.
        seeds: how many.
    """

    mean: float
    deviation: float
    low: float
    high: float
    seeds: int

    @property
    def sign(self) -> int:
        """+1 or -1 where the interval leaves out 0 on that side, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def tails(seeds: int) -> tuple[float, float]:
    """The two quantile levels of a 95 % expanded percentile interval over that many seeds."""
    if seeds < 2:
        return math.nan, math.nan
    freedom = seeds - 1
    t = _T_975[freedom - 1] if freedom <= len(_T_975) else 1.96 + 2.42 / freedom
    level = NormalDist().cdf(-t * math.sqrt(seeds / freedom))
    return level, 1 - level


def estimate(values: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Mean and interval.

    Args:
        values: (S,) one a seed, or (S, P) one a seed and problem (the same problems for every seed).
        seed: of the resampling.
        resamples: bootstrap draws.
    """
    data = np.asarray(values, np.float64)
    by_seed = data if data.ndim == 1 else data.mean(1)
    return interval_of(by_seed, _means(data, seed, resamples))


def interval_of(by_seed: Array, resampled: Array) -> Estimate:
    """An estimate from the values by seed and resampled means (R,) of them; NaN resamples are left out."""
    seeds = len(by_seed)
    if not seeds:
        return Estimate(math.nan, math.nan, math.nan, math.nan, 0)
    low, high = math.nan, math.nan
    kept = resampled[~np.isnan(resampled)]
    if seeds > 1 and len(kept) >= len(resampled) / 2:
        low, high = (float(q) for q in np.quantile(kept, tails(seeds)))
    deviation = float(by_seed.std(ddof=1)) if seeds > 1 else math.nan
    return Estimate(float(by_seed.mean()), deviation, low, high, seeds)


@cache
def draws(count: int, seed: int, resamples: int) -> npt.NDArray[np.int64]:
    """(R, count) how often each of `count` things is drawn in each resample."""
    drawn: npt.NDArray[np.int64] = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    return drawn


def _means(data: Array, seed: int, resamples: int) -> Array:
    if not len(data):
        return np.empty(0)
    seeds = draws(len(data), seed, resamples) / len(data)
    if data.ndim == 1:
        one: Array = seeds @ data
        return one
    problems = draws(data.shape[1], seed + 1, resamples) / data.shape[1]
    both: Array = ((seeds @ data) * problems).sum(1)
    return both
