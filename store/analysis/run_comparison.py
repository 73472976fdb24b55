"""Two runs beside each other: the options that differ, and by how much their figures do.

    simko diff runs/grpo runs/simko

Changes are second run minus first. pass@k is compared problem by problem, at the last step at which both runs evaluated
the same split in the same way; its interval draws problems. What is logged at every step is compared step by step over
the last steps that both runs have, and shown with the range of the differences. Neither says anything of other seeds:
that takes several runs of each, as `simko study` makes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pandas as pd

from ..layout.schema import K_SHOWN
from .estimators import bootstrap_interval, pass_at_k, pass_at_k_exact

RANKS = (1, 2, 3)
SAME_MEANING = ("temperature", "logprobs", "entropy", "forking", "tie_rule")
"""Entries of `probe` in `run.json`: where they differ, figures of the steps do not compare."""

_NAMES = {"run", "created", "run_name", "output_dir", "checksum"}
"""Entries that are never the same."""
_STEPS = """
WITH means AS (
    SELECT step, sum(sum_entropy) / sum(n_tokens) AS entropy, sum(n_rank_1) / sum(n_tokens) AS rank_1,
           sum(n_responses) FILTER (verdict = 'right') / sum(n_responses) FILTER (verdict <> 'unjudged') AS right_share
    FROM rollups WHERE complete GROUP BY step
),
lambdas AS (
    SELECT step, {lambdas} FROM lambda_k WHERE verdict = 'all' AND complete GROUP BY step
)
SELECT * FROM lambdas JOIN means USING (step) ORDER BY step
"""
_LABELS = {f"lambda_{k}": f"Λ({k})" for k in RANKS} | {
    "entropy": "entropy",
    "rank_1": "sampled rank 1",
    "right_share": "right",
}


@dataclass(frozen=True)
class Figure:
    """One figure of two runs.

    Attributes:
        name: `pass@8`, `Λ(1)`; in nats where it is a log-probability or an entropy, else a share.
        first, second: its value in either run.
        low, high: interval (pass@k) or range (figures of steps) of second minus first; NaN where one cannot be told.
        basis: what it was taken over, in words.
    """

    name: str
    first: float
    second: float
    low: float
    high: float
    basis: str

    @property
    def change(self) -> float:
        """Second minus first."""
        return self.second - self.first


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Entries of two `run.json` that are not the same: (name, in the first, in the second), None where there is none.

    An option that `hyperparameters` and `config` both hold is told once.
    """
    ours, theirs = dict(_entries(first)), dict(_entries(second))
    names = sorted(ours.keys() | theirs.keys(), key=lambda name: (name.count("."), name))
    result = [(name, ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)]
    reported = {f"config.{name.removeprefix('hyperparameters.')}" for name, _, _ in result}
    return [entry for entry in result if entry[0] not in reported]


def _entries(info: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in info.items():
        if name in _NAMES:
            continue
        if isinstance(value, Mapping):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def incomparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """A line for each thing that makes the figures of two runs mean different things."""
    probes = [info["probe"] if isinstance(info.get("probe"), Mapping) else {} for info in (first, second)]
    pairs = [(name, probes[0].get(name), probes[1].get(name)) for name in SAME_MEANING]
    pairs += [(name, first.get(name), second.get(name)) for name in ("task", "dataset", "model")]
    return [f"{name}: {ours} against {theirs}" for name, ours, theirs in pairs if ours != theirs]


def step_figures(first: duckdb.DuckDBPyConnection, second: duckdb.DuckDBPyConnection, window: int) -> list[Figure]:
    """Λ(k), entropy, and the shares of rank 1 and of right answers, over the last `window` steps that both runs have.

    Args:
        first, second: connections with the views, on one run each.
        window: steps averaged.
    """
    lambdas = ", ".join(f"max(lambda_k) FILTER (k = {k}) AS lambda_{k}" for k in RANKS)
    ours, theirs = (c.execute(_STEPS.format(lambdas=lambdas)).df().set_index("step") for c in (first, second))
    common = ours.index.intersection(theirs.index).sort_values()[-window:]
    if common.empty:
        return []
    basis = f"step {common[0]}" if len(common) == 1 else f"mean and range over steps {common[0]} to {common[-1]}"
    figures = []
    for column, name in _LABELS.items():
        pairs = pd.DataFrame({"a": ours.loc[common, column], "b": theirs.loc[common, column]}).astype(float).dropna()
        if len(pairs):
            change = pairs.b - pairs.a
            low, high = (change.min(), change.max()) if len(pairs) > 1 else (math.nan, math.nan)
            figures.append(Figure(name, pairs.a.mean(), pairs.b.mean(), low, high, basis))
    return figures


def pass_at_k_figures(
    first: duckdb.DuckDBPyConnection, second: duckdb.DuckDBPyConnection, ks: Sequence[int] = K_SHOWN
) -> list[Figure]:
    """pass@k at the last step both runs evaluated alike, over the problems both have; nothing where there is none.

    Held-out problems come before others, exact values before sampled ones.
    """
    rows = "SELECT split, source, step, prompt_id, n, c, success FROM evals WHERE evaluation IS NULL"
    ours, theirs = (c.execute(rows).df() for c in (first, second))
    both = ours.merge(theirs, on=["split", "source", "step", "prompt_id"], suffixes=("_first", "_second"))
    if both.empty:
        return []
    split, source = both[["split", "source"]].drop_duplicates().sort_values(["split", "source"]).iloc[0]
    both = both[(both.split == split) & (both.source == source)]
    step = both.step.max()
    both = both[both.step == step].sort_values("prompt_id")  # so that a seed draws the same problems every time
    basis = f"95 % interval over {len(both)} {split} problems, {source}, step {step}"
    figures = []
    for k in ks:
        values = pd.DataFrame({side: _problems(both, side, k) for side in ("first", "second")}).dropna()
        if len(values):
            low, high = bootstrap_interval(values.second - values["first"])
            figures.append(Figure(f"pass@{k}", values["first"].mean(), values.second.mean(), low, high, basis))
    return figures


def _problems(both: pd.DataFrame, side: str, k: int) -> Any:
    """pass@k of each problem in one of the two runs."""
    if both[f"success_{side}"].notna().all():
        return pass_at_k_exact(both[f"success_{side}"], k)
    return pass_at_k(both[f"n_{side}"], both[f"c_{side}"], k)
