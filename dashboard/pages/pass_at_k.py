"""Page: pass@k over k with intervals, first against latest evaluation, and over steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from ...store.analysis.estimators import bootstrap_interval, pass_at_k, pass_at_k_exact
from ...store.layout.schema import K_SHOWN
from ..components import charts
from ..components.live_chart import live_chart
from ..components.view import View, empty, heading, live, over_steps, tell_subset, told_ends

SOURCES = {"exact": "exact (enumerated)", "sampled": "sampled responses", "rollouts": "training rollouts"}

_AVAILABLE = """
SELECT DISTINCT split, source, benchmark FROM pass_at_k WHERE run IN (SELECT unnest($1))
ORDER BY benchmark NULLS FIRST, CASE source WHEN 'exact' THEN 0 WHEN 'sampled' THEN 1 ELSE 2 END, split
"""
CHOSEN = """
split = $2 AND source = $3 AND benchmark IS NOT DISTINCT FROM $4::VARCHAR
AND (evaluation IS NULL OR (run, evaluation) IN (SELECT (run, evaluation) FROM evaluations WHERE newest))
"""
"""What `Measurement` chooses: of a benchmark the newest evaluation of each step."""
_STEPS = f"""
SELECT run, step, k, pass_at_k, greatest(0, pass_at_k - 1.96 * stderr) AS low,
       least(1, pass_at_k + 1.96 * stderr) AS high
FROM pass_at_k WHERE run IN (SELECT unnest($1)) AND {CHOSEN}
ORDER BY run, k, step
"""
_ENDS = f"""
SELECT run, k, step, pass_at_k, n_problems, n_samples,
       CASE WHEN step = max(step) OVER (PARTITION BY run) THEN 'latest' ELSE 'first' END AS when
FROM pass_at_k WHERE run IN (SELECT unnest($1)) AND {CHOSEN}
QUALIFY step = min(step) OVER (PARTITION BY run) OR step = max(step) OVER (PARTITION BY run)
ORDER BY run, step, k
"""
_PROBLEMS = {
    "evals": f"""
        SELECT run, step, n, c, success FROM evals
        WHERE run IN (SELECT unnest($1)) AND step IN (SELECT unnest($5)) AND {CHOSEN}
    """,
    "rollouts": """
        SELECT run, step, count(*) FILTER (verdict <> 'unjudged')::INTEGER AS n,
               count(*) FILTER (verdict = 'right')::INTEGER AS c, NULL::DOUBLE AS success
        FROM responses WHERE run IN (SELECT unnest($1)) AND step IN (SELECT unnest($2)) AND group_id IS NOT NULL
        GROUP BY run, step, attempt, generation, group_id
    """,
}


def show() -> None:
    """The page."""
    heading(
        "pass@K",
        "How often at least one of k responses is right. A bad sign is a latest curve (filled markers) that starts "
        "above the first one (dotted, open markers) and ends below it: pass@1 was bought with problems that are no "
        "longer solved at all.",
    )
    live(draw)


class Measurement(NamedTuple):
    """What pass@k was measured on: the run's own problems, or a benchmark."""

    split: str
    source: str
    benchmark: str | None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.benchmark or self.split} · {SOURCES.get(self.source, self.source)}"


def choose_source(view: View, key: str) -> Measurement | None:
    """Let the reader choose which measurement, the run's own ones first; None where there is none."""
    rows = view.frame(_AVAILABLE).itertuples(index=False, name=None)
    result = [Measurement(str(s), str(o), None if pd.isna(b) else str(b)) for s, o, b in rows]
    if not result:
        return None
    names = [each.name for each in result]
    # Chosen by name: a source that appears later must not shift the choice.
    name = st.segmented_control("Measured on", names, default=names[0], key=key) or names[0]
    return result[names.index(name)] if name in names else result[0]


def draw(view: View) -> None:
    """The curves, then pass@k over steps for a few k."""
    chosen = choose_source(view, "pass_source")
    if chosen is None:
        return empty(view, "No evaluation and no judged group of responses in the selected runs yet.")
    tell_subset(view, not_to="pass@k, which is the share of right ones")
    split, source, benchmark = chosen
    curves = with_intervals(view, view.frame(_ENDS, *chosen), chosen)
    if benchmark is None:
        curves = told_ends(view, curves, "responses" if source == "rollouts" else "evals")
    steps = view.frame(_STEPS, *chosen)
    at = "-".join((split, source, benchmark or ""))
    live_chart(charts.pass_curves(curves.assign(panel=""), view.looks), key=f"curves-{at}")
    problems = curves.groupby("run")["n_problems"].max()
    st.caption(
        "Bands: 95 % bootstrap intervals over problems "
        f"({' to '.join(str(int(n)) for n in sorted({problems.min(), problems.max()}))} problems)."
        + (
            " Rollouts are of the problems drawn at that step alone, so steps differ in their problems."
            * (source == "rollouts")
        )
    )
    st.subheader("Over steps")
    available = sorted(int(k) for k in steps["k"].unique())
    some = st.pills("k", available, selection_mode="multi", default=few_k(available), key=f"pass_k-{at}")
    shown = steps[steps["k"].isin(some or few_k(available))]
    over_steps(view, charts.pass_over_steps(shown, view.looks), key=f"steps-{at}-{shown['k'].nunique()}")
    st.caption("Bands: ± 1.96 standard errors over problems.")


def few_k(available: list[int]) -> list[int]:
    """Three values of k that show the spread: the smallest, the largest of those tables show, and one between."""
    available = [k for k in available if k <= max(K_SHOWN)] or available
    if len(available) <= 3:
        return available
    return [available[0], available[len(available) // 2], available[-1]]


def with_intervals(view: View, ends: pd.DataFrame, chosen: Measurement) -> pd.DataFrame:
    """The curves' rows with `low` and `high`."""
    rows = ends.reset_index(drop=True)
    steps = [int(step) for step in rows["step"].unique()]
    if chosen.source == "rollouts":
        problems = view.frame(_PROBLEMS["rollouts"], steps)
    else:
        problems = view.frame(_PROBLEMS["evals"], *chosen, steps)
    low, high = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for (run, step), part in rows.groupby(["run", "step"], sort=False):
        of_it = problems[(problems["run"] == run) & (problems["step"] == step)]
        low[part.index], high[part.index] = intervals(of_it[["n", "c", "success"]], tuple(int(k) for k in part["k"]))
    return rows.assign(low=low, high=high)


@st.cache_data(show_spinner=False, max_entries=256)
def intervals(problems: pd.DataFrame, ks: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """95 % bootstrap intervals of one evaluation's pass@k at every k.

    Args:
        problems: columns n, c, and success (NULL where it is not known exactly).
        ks: the values of k.

    Returns:
        (low, high), one entry a k.
    """
    exact = bool(problems["success"].notna().any())
    values = np.column_stack(
        [pass_at_k_exact(problems["success"], k) if exact else pass_at_k(problems["n"], problems["c"], k) for k in ks]
    )
    low, high = bootstrap_interval(values)
    for column in np.flatnonzero(np.isnan(values).any(axis=0)):  # problems that n < k responses cannot tell
        available = values[:, column]
        low[column], high[column] = bootstrap_interval(available[~np.isnan(available)])
    return [float(x) for x in low], [float(x) for x in high]
