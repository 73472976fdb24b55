"""Estimators with their uncertainty, in NumPy: pass@k, pass^k, cover@tau, bootstrap intervals, correlations.

Formulas: Chen et al. 2021 (pass@k); Yao et al. 2024 (pass^k, tau-bench); percentile bootstrap over the first axis.
Every random draw comes from the `seed` given, so the same data show the same interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: int) -> Array:
    """Unbiased pass@k of each problem: 1 − C(n−c, k) / C(n, k), as a product that neither overflows nor cancels.

    Args:
        n: (P,) responses drawn for each problem.
        c: (P,) right ones among them.
        k: responses one may try, from 1.

    Returns:
        (P,) float64; NaN where n < k, which n responses cannot tell.
    """
    drawn, right = np.asarray(n, np.float64), np.asarray(c, np.float64)
    none_right = np.ones(np.broadcast(drawn, right).shape)
    for i in range(k):
        none_right = none_right * np.clip(drawn - right - i, 0.0, None) / np.where(drawn > i, drawn - i, 1.0)
    estimate: Array = np.where(drawn >= k, 1.0 - none_right, np.nan)
    return estimate


def pass_at_k_exact(success: npt.ArrayLike, k: int) -> Array:
    """(P,) pass@k where the probability of a right response is known: 1 − (1 − p)^k."""
    p = np.clip(np.asarray(success, np.float64), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        estimate: Array = -np.expm1(k * np.log1p(-p))
    return estimate


def pass_hat_k(n: npt.ArrayLike, c: npt.ArrayLike, k: int) -> Array:
    """Unbiased pass^k of each problem, the probability that all of k responses are right: C(c, k) / C(n, k).

    Args:
        n: (P,) responses drawn for each problem.
        c: (P,) right ones among them.
        k: responses that all have to be right, from 1.

    Returns:
        (P,) float64; NaN where n < k.
    """
    drawn, right = np.asarray(n, np.float64), np.asarray(c, np.float64)
    all_right = np.ones(np.broadcast(drawn, right).shape)
    for i in range(k):
        all_right = all_right * np.clip(right - i, 0.0, None) / np.where(drawn > i, drawn - i, 1.0)
    estimate: Array = np.where(drawn >= k, all_right, np.nan)
    return estimate


def cover_at(n: npt.ArrayLike, c: npt.ArrayLike, tau: float) -> Array:
    """Whether the success rate of each problem reaches tau, by the plug-in rate c/n: its mean is cover@tau.

    The rate of few responses scatters around the true one, so problems near tau are on either side by chance: the
    mean is not unbiased, and comparable only between evaluations with the same n.

    Args:
        n: (P,) responses drawn for each problem.
        c: (P,) right ones among them.
        tau: success rate to reach, in (0, 1].

    Returns:
        (P,) 1.0 or 0.0; NaN where n is 0.
    """
    drawn, right = np.asarray(n, np.float64), np.asarray(c, np.float64)
    reached: Array = np.where(drawn > 0, (right >= tau * drawn - 1e-9).astype(np.float64), np.nan)
    return reached


def bootstrap_interval(
    values: npt.ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Any, Any]:
    """Percentile interval of the mean over the first axis, by drawing its entries with replacement.

    Args:
        values: (P,) or (P, Q); problems first.
        level: of the interval.
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        (low, high): floats, or (Q,) each. NaN with fewer than two entries: one problem tells nothing of others.
    """
    data = np.asarray(values, np.float64)
    if len(data) < 2:
        nothing = np.full(data.shape[1:], np.nan)[()]
        return nothing, nothing
    weights = np.random.default_rng(seed).multinomial(len(data), np.full(len(data), 1 / len(data)), resamples)
    means = weights @ data / len(data)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def pearson(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Pearson's r; NaN with fewer than three points or where either side does not vary."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(a) < 3:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-12 * max(1.0, len(a)) else float("nan")


def partial_correlation(x: npt.ArrayLike, y: npt.ArrayLike, given: npt.ArrayLike) -> float:
    """Pearson's r of x and y after a straight line in `given` (P,) or (P, Q) is taken out of both.

    NaN with fewer than three points more than lines taken out.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    design = np.column_stack([np.ones(len(a)), np.asarray(given, np.float64).reshape(len(a), -1)])
    if len(a) < design.shape[1] + 2:
        return float("nan")
    residuals = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (a, b)]
    spread = [
        float(r @ r) / max(float((v - v.mean()) @ (v - v.mean())), 1e-300)
        for r, v in zip(residuals, (a, b), strict=True)
    ]
    return pearson(*residuals) if min(spread) > 1e-12 else float("nan")


def correlation_interval(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    given: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `pearson` (or of `partial_correlation` with `given`), drawing points.

    Points of one run follow each other and are not independent draws, so the interval is narrower than the truth.

    Returns:
        (low, high); NaN where fewer than half of the resamples define a correlation.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    lines = None if given is None else np.asarray(given, np.float64)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples if len(a) >= 3 else 0):
        rows = rng.integers(0, len(a), len(a))
        draws.append(pearson(a[rows], b[rows]) if lines is None else partial_correlation(a[rows], b[rows], lines[rows]))
    defined = np.array(draws)[~np.isnan(draws)] if draws else np.array([])
    if len(defined) < max(1, resamples // 2):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
