"""Page: pass@k over k with intervals, first against latest evaluation, and over steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from ...store.analysis.estimators import bootstrap_interval, pass_at_k, pass_at_k_exact
from ...store.layout.schema import K_SHOWN
from ..components import charts
from ..components.live_chart import live_chart
from ..components.view import View, empty, heading, live, over_steps

SOURCES = {"exact": "exact (enumerated)", "sampled": "sampled responses", "rollouts": "training rollouts"}

_AVAILABLE = """
SELECT DISTINCT split, source FROM pass_at_k WHERE run IN (SELECT unnest($1))
ORDER BY CASE source WHEN 'exact' THEN 0 WHEN 'sampled' THEN 1 ELSE 2 END, split
"""
_STEPS = """
SELECT run, step, k, pass_at_k, greatest(0, pass_at_k - 1.96 * stderr) AS low,
       least(1, pass_at_k + 1.96 * stderr) AS high
FROM pass_at_k WHERE run IN (SELECT unnest($1)) AND split = $2 AND source = $3
ORDER BY run, k, step
"""
_ENDS = """
SELECT run, k, step, pass_at_k, n_problems, n_samples,
       CASE WHEN step = max(step) OVER (PARTITION BY run) THEN 'latest' ELSE 'first' END AS when
FROM pass_at_k WHERE run IN (SELECT unnest($1)) AND split = $2 AND source = $3
QUALIFY step = min(step) OVER (PARTITION BY run) OR step = max(step) OVER (PARTITION BY run)
ORDER BY run, step, k
"""
_PROBLEMS = {
    "evals": """
        SELECT run, step, n, c, success FROM evals
        WHERE run IN (SELECT unnest($1)) AND step IN (SELECT unnest($2)) AND split = $3 AND source = $4
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
        "How often at least one of k responses is right. A bad sign is a latest curve (solid) that starts above the "
        "first one (dotted) and ends below it: pass@1 was bought with problems that are no longer solved at all.",
    )
    live(draw)


def choose_source(view: View, key: str) -> tuple[str, str] | None:
    """Let the reader choose which measurement; None where there is none."""
    result = list(view.frame(_AVAILABLE).itertuples(index=False, name=None))
    if not result:
        return None
    names = [f"{split} · {SOURCES.get(source, source)}" for split, source in result]
    # Chosen by name: a source that appears later must not shift the choice.
    name = st.segmented_control("Measured on", names, default=names[0], key=key) or names[0]
    split, source = result[names.index(name)] if name in names else result[0]
    return str(split), str(source)


def draw(view: View) -> None:
    """The curves, then pass@k over steps for a few k."""
    chosen = choose_source(view, "pass_source")
    if chosen is None:
        return empty(view, "No evaluation and no judged group of responses in the selected runs yet.")
    split, source = chosen
    curves = with_intervals(view, view.frame(_ENDS, split, source), split, source)
    steps = view.frame(_STEPS, split, source)
    live_chart(charts.pass_curves(curves.assign(panel=""), view.colours), key=f"curves-{split}-{source}")
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
    at = f"{split}-{source}"
    some = st.pills("k", available, selection_mode="multi", default=few_k(available), key=f"pass_k-{at}")
    shown = steps[steps["k"].isin(some or few_k(available))]
    over_steps(view, charts.pass_over_steps(shown, view.colours), key=f"steps-{at}-{shown['k'].nunique()}")
    st.caption("Bands: ± 1.96 standard errors over problems.")


def few_k(available: list[int]) -> list[int]:
    """Three values of k that show the spread: the smallest, the largest of those tables show, and one between."""
    available = [k for k in available if k <= max(K_SHOWN)] or available
    if len(available) <= 3:
        return available
    return [available[0], available[len(available) // 2], available[-1]]


def with_intervals(view: View, ends: pd.DataFrame, split: str, source: str) -> pd.DataFrame:
    """The curves' rows with `low` and `high`."""
    rows = ends.reset_index(drop=True)
    steps = [int(step) for step in rows["step"].unique()]
    if source == "rollouts":
        problems = view.frame(_PROBLEMS["rollouts"], steps)
    else:
        problems = view.frame(_PROBLEMS["evals"], steps, split, source)
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
