"""Whether a noisy series rises or falls: Theil–Sen slope and Mann–Kendall test on as many points as are independent.

    trend(steps, values).falls(at_least=0.2)

The slope is the median of the slopes of all pairs of points (Theil 1950, Sen 1968): a third of the points may be wild.
The test counts pairs in order against pairs out of order (Mann 1945, Kendall 1975). Points of one training run follow
each other, which makes the count scatter more than the test believes, so its variance is widened by the larger of
Hamed & Rao's factor (1998), which sums the autocorrelation of the ranks, and that of a first-order autoregression whose
coefficient is freed of its bias in short series. Points never count more than once: a factor below 1 is taken as 1.

Pure functions of NumPy arrays: no run, no SQL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FEWEST_POINTS = 12
"""Below, an autocorrelation cannot be told from noise: |r| has to be above 2/√n = 0.58 to be seen at all."""
MOST_POINTS = 240
"""Longer series are averaged in equal blocks first: pairs grow with the square, and averages are less correlated."""
SIGNIFICANCE = 0.01
"""One-sided. Several rules look at one run, so one in a hundred each, not one in twenty."""
END_SHARE = 0.2
"""Share of the points at each end whose median is the start and the end: single steps are noise."""


@dataclass(frozen=True)
class Trend:
    """What became of a series.

    Attributes:
        slope: Theil–Sen, per unit of x.
        start, end: medians over the first and last `END_SHARE` of the points.
        p_rise, p_fall: one-sided p-values of no trend against a rise, a fall.
        n: points tested.
        effective_n: how many independent points they are worth.
    """

    slope: float
    start: float
    end: float
    p_rise: float
    p_fall: float
    n: int
    effective_n: float

    @property
    def change(self) -> float:
        """End minus start."""
        return self.end - self.start

    def rises(self, at_least: float = 0.0) -> bool:
        """Whether it rises beyond chance, and by more than `at_least`."""
        return self.p_rise < SIGNIFICANCE and self.slope > 0 and self.change > at_least

    def falls(self, at_least: float = 0.0) -> bool:
        """Whether it falls beyond chance, and by more than `at_least`."""
        return self.p_fall < SIGNIFICANCE and self.slope < 0 and -self.change > at_least


def trend(x: npt.ArrayLike, y: npt.ArrayLike) -> Trend:
    """The trend of a series.

    Args:
        x: (N,) where the points are, rising: steps.
        y: (N,) values; points that are not finite are left out.

    Raises:
        ValueError: fewer than `FEWEST_POINTS` points are finite.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    kept = np.isfinite(a) & np.isfinite(b)
    a, b = blocks(a[kept], b[kept])
    n = len(b)
    if n < FEWEST_POINTS:
        raise ValueError(f"{n} points, a trend takes {FEWEST_POINTS}")
    slope = theil_sen(a, b)
    factor = variance_factor(b - slope * a)
    s, variance = mann_kendall(b)
    deviation = math.sqrt(variance * factor)
    some = max(1, round(END_SHARE * n))
    freedom = max(1.0, n / factor - 2)  # the widening is itself an estimate, from as many points

    def tail(pairs: float) -> float:
        return student_tail((pairs - 1) / deviation, freedom) if deviation > 0 else 1.0

    return Trend(
        slope=slope,
        start=float(np.median(b[:some])),
        end=float(np.median(b[-some:])),
        p_rise=tail(s),
        p_fall=tail(-s),
        n=n,
        effective_n=n / factor,
    )


def theil_sen(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Median of the slopes of all pairs of points with different x; NaN where there is no such pair."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    i, j = np.triu_indices(len(a), 1)
    run = a[j] - a[i]
    apart = run != 0
    return float(np.median((b[j] - b[i])[apart] / run[apart])) if apart.any() else math.nan


def mann_kendall(y: npt.ArrayLike) -> tuple[float, float]:
    """Mann–Kendall's S, pairs that rise minus pairs that fall, and its variance for independent points with ties."""
    b = np.asarray(y, np.float64)
    n = len(b)
    i, j = np.triu_indices(n, 1)
    s = float(np.sign(b[j] - b[i]).sum())
    ties = np.unique(b, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    return s, float(variance)


def variance_factor(residuals: npt.ArrayLike) -> float:
    """By how much autocorrelation widens the variance of S; N divided by it is the number of independent points.

    Args:
        residuals: (N,) the series without its trend.
    """
    values = np.asarray(residuals, np.float64)
    spread = float(np.abs(values).max(initial=0.0)) or 1.0
    ranks = _ranks(np.round(values / spread, 9))  # a median line meets points exactly: rounding must not part them
    n = len(ranks)
    r = autocorrelation(ranks)
    # Hamed & Rao: only lags whose autocorrelation is beyond chance, here the first stretch of them.
    beyond = np.abs(r) > 1.645 / math.sqrt(n)
    first = len(r) if beyond.all() else int(np.argmin(beyond))
    lags = np.arange(1, first + 1)
    weights = (n - lags) * (n - lags - 1.0) * (n - lags - 2.0)
    hamed_rao = 1 + 2 / (n * (n - 1.0) * (n - 2.0)) * float((weights * r[:first]).sum())
    # Kendall's bias of r(1) in short, detrended series: about -(1 + 4 r)/n.
    unbiased = min((n * float(r[0]) + 2) / (n - 4), 0.98) if len(r) else 0.0
    autoregressive = (1 + unbiased) / (1 - unbiased)
    return max(1.0, hamed_rao, autoregressive)


def autocorrelation(y: npt.ArrayLike) -> Array:
    """(N // 2,) autocorrelations at lags 1, 2, …; 0 where the series does not vary."""
    b = np.asarray(y, np.float64)
    b = b - b.mean()
    total = float(b @ b)
    n = len(b)
    if total <= 1e-24 * max(1, n):
        return np.zeros(n // 2)
    return np.array([float(b[lag:] @ b[: n - lag]) / total for lag in range(1, n // 2 + 1)])


def blocks(x: Array, y: Array, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """Means over blocks of consecutive points, at most `most` of them and equal but for one more point in some."""
    if len(y) <= most:
        return x, y
    starts = np.linspace(0, len(y), most, endpoint=False).astype(int)
    sizes = np.diff([*starts, len(y)])
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def _ranks(y: Array) -> Array:
    """(N,) ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    ranks: Array = (ends - (counts - 1) / 2)[inverse]
    return ranks


def student_tail(t: float, freedom: float) -> float:
    """P(T > t) of Student's t: with T = √freedom·tan θ the density of θ is ∝ cos(θ) to the power of freedom − 1."""
    edges = np.linspace(math.atan(t / math.sqrt(freedom)), math.pi / 2, 1001), np.linspace(0, math.pi / 2, 1001)
    tail, half = (float(np.trapezoid(np.cos(e).clip(0) ** (freedom - 1), e)) for e in edges)
    return tail / (2 * half)
