"""Concentration against pass@k over the checkpoints of a study: pooled, with the step taken out, and between methods.

Checkpoints of one run are not independent, so intervals resample whole runs (for the means of methods: seeds), never
single checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from .estimators import partial_correlation, pearson
from .outcomes import Outcomes

Array = npt.NDArray[np.float64]
_RESAMPLES = 400

_POINTS = """
SELECT run, step, k, pass_at_k, lambda_1, lambda_2, lambda_3 FROM concentration
WHERE split = 'heldout' AND source = (SELECT min(source) FROM pass_at_k WHERE split = 'heldout')
"""


@dataclass(frozen=True)
class Correlation:
    """r between Λ(rank) and pass@k.

    Attributes:
        rank, k: which.
        kind: `pooled`, `partial` (step and step² taken out of both) or `between methods` (final means).
        r: Pearson's.
        low, high: 95 % interval over runs or seeds.
        points: how many.
    """

    rank: int
    k: int
    kind: str
    r: float
    low: float
    high: float
    points: int


def checkpoints(outcomes: Outcomes) -> pd.DataFrame:
    """One row a checkpoint of a compared run and k: run, label, seed, step, k, pass_at_k, lambda_1..3."""
    known = {o.planned.run: o.planned for o in outcomes.by_run.values() if o.planned.role == "compare"}
    points = outcomes.study.frame(_POINTS)
    points = points[points["run"].isin(list(known))].copy()
    points["label"] = [known[run].label for run in points["run"]]
    points["seed"] = [known[run].seed for run in points["run"]]
    return points


def correlations(points: pd.DataFrame, *, rank: int, k: int) -> list[Correlation]:
    """The three correlations of Λ(rank) with pass@k."""
    rows = points[points["k"] == k].rename(columns={f"lambda_{rank}": "x", "pass_at_k": "y"})
    by_run = [part[["x", "y", "step"]].to_numpy(np.float64) for _, part in rows.groupby("run", sort=False)]
    last = rows.loc[rows.groupby("run")["step"].idxmax()]
    labels = list(dict.fromkeys(rows["label"]))
    by_seed = [_final_means(part, labels) for _, part in last.groupby("seed", sort=False)]
    return [
        _with_interval(rank, k, "pooled", _pooled, by_run, len(rows)),
        _with_interval(rank, k, "partial", _partial, by_run, len(rows)),
        _with_interval(rank, k, "between methods", _between, by_seed, len(labels)),
    ]


def _final_means(part: pd.DataFrame, labels: list[str]) -> Array:
    """(L, 2) Λ and pass@k of each label for one seed; NaN where it has no run."""
    means: Array = part.groupby("label")[["x", "y"]].mean().reindex(labels).to_numpy(np.float64)
    return means


def _pooled(parts: list[Array]) -> float:
    data = np.concatenate(parts)
    return pearson(data[:, 0], data[:, 1])


def _partial(parts: list[Array]) -> float:
    data = np.concatenate(parts)
    step = data[:, 2] / max(1.0, data[:, 2].max())
    return partial_correlation(data[:, 0], data[:, 1], np.column_stack([step, step**2]))


def _between(parts: list[Array]) -> float:
    stacked = np.stack(parts)
    known = ~np.isnan(stacked)
    counts = known.sum(0)
    means = np.where(known, stacked, 0.0).sum(0) / np.where(counts, counts, np.nan)
    means = means[~np.isnan(means).any(1)]
    return pearson(means[:, 0], means[:, 1])


def _with_interval(
    rank: int, k: int, kind: str, measure: Callable[[list[Array]], float], parts: list[Array], points: int
) -> Correlation:
    if not parts:
        return Correlation(rank, k, kind, np.nan, np.nan, np.nan, points)
    rng = np.random.default_rng(0)
    result = [measure([parts[i] for i in rng.integers(0, len(parts), len(parts))]) for _ in range(_RESAMPLES)]
    available = np.array([r for r in result if not np.isnan(r)])
    low, high = np.quantile(available, [0.025, 0.975]) if len(parts) > 1 and len(available) else (np.nan, np.nan)
    return Correlation(rank, k, kind, measure(parts), float(low), float(high), points)
