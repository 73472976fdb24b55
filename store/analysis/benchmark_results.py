"""What evaluations beside training found: pass@k with intervals over problems, and what could not be judged.

Read from the run's own log by SQL, so that it is what everyone can ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..layout.schema import K_SHOWN
from .estimators import bootstrap_interval, pass_at_k, pass_at_k_exact

_PROBLEMS = """
SELECT source, n, c, n_unjudged, success, n_truncated, n_unextracted FROM evals
WHERE evaluation = $1 ORDER BY prompt_id
"""
_ABOUT = "SELECT benchmark, step, checkpoint, n_problems, samples, complete FROM evaluations WHERE evaluation = $1"


@dataclass(frozen=True)
class PassAtK:
    """pass@k: the mean over problems and a 95 % bootstrap interval over them (NaN with fewer than two)."""

    k: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class BenchmarkResult:
    """One evaluation.

    Attributes:
        source: `sampled`, or `exact` where answers can be enumerated.
        curve: pass@k at the k that tables show, as far as the responses reach.
        truncated, unextracted, unjudged: shares of all responses; None where it cannot be told.
    """

    benchmark: str
    step: int
    checkpoint: str
    source: str
    n_problems: int
    samples: int
    curve: tuple[PassAtK, ...]
    truncated: float | None
    unextracted: float | None
    unjudged: float | None


def benchmark_results(connection: Any, evaluation: str, ks: tuple[int, ...] = K_SHOWN) -> list[BenchmarkResult]:
    """What an evaluation found, the sampled result before the exact one; nothing where it is not complete.

    Args:
        connection: with the views, on the run.
        evaluation: its identity.
        ks: the k to estimate.
    """
    about = connection.execute(_ABOUT, [evaluation]).fetchone()
    if about is None or not about[5]:
        return []
    benchmark, step, checkpoint, _, samples, _ = about
    frame = connection.execute(_PROBLEMS, [evaluation]).df()
    result = []
    for source in ("sampled", "exact"):
        rows = frame[frame["source"] == source]
        if len(rows):
            curve = _curve(rows, ks, exact=source == "exact")
            shares = _shares(rows, source)
            result.append(BenchmarkResult(benchmark, step, checkpoint, source, len(rows), samples, curve, *shares))
    return result


def _curve(rows: Any, ks: tuple[int, ...], *, exact: bool) -> tuple[PassAtK, ...]:
    curve = []
    for k in ks:
        values = pass_at_k_exact(rows["success"], k) if exact else pass_at_k(rows["n"], rows["c"], k)
        values = values[~np.isnan(values)]
        if len(values):
            low, high = bootstrap_interval(values)
            curve.append(PassAtK(k, float(values.mean()), float(low), float(high)))
    return tuple(curve)


def _shares(rows: Any, source: str) -> tuple[float | None, float | None, float | None]:
    if source == "exact":
        return None, None, None
    drawn = float((rows["n"] + rows["n_unjudged"]).sum())
    if not drawn:
        return None, None, None
    names = ("n_truncated", "n_unextracted", "n_unjudged")
    truncated, unextracted, unjudged = (
        None if rows[name].isna().any() else float(rows[name].sum()) / drawn for name in names
    )
    return truncated, unextracted, unjudged
