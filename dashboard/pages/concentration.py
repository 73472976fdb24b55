"""Page: concentration against pass@k over checkpoints, with the correlation and how far it can be trusted."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from ...store.analysis.estimators import correlation_interval, partial_correlation, pearson
from ...store.layout.schema import K_SHOWN
from ..components import charts
from ..components.live_chart import live_chart
from ..components.names import literal_frame
from ..components.view import View, empty, heading, judged, live, tell_subset
from .pass_at_k import CHOSEN, choose_source

MEASURES = {
    "lambda_1": "Λ(1) (nats)",
    "lambda_2": "Λ(2) (nats)",
    "lambda_3": "Λ(3) (nats)",
    "probability_1": "mean probability of rank 1",
    "entropy": "mean entropy (nats)",
}
FEW = 8
_POINTS = f"""
WITH points AS (
    SELECT run, step, trained_step, k, pass_at_k FROM concentration
    WHERE run IN (SELECT unnest($1)) AND {CHOSEN}
),
measures AS (
    SELECT run, step, max(lambda_k) FILTER (k = 1) AS lambda_1, max(lambda_k) FILTER (k = 2) AS lambda_2,
           max(lambda_k) FILTER (k = 3) AS lambda_3, max(probability) FILTER (k = 1) AS probability_1
    FROM lambda_k WHERE run IN (SELECT unnest($1)) AND verdict = $5 AND complete GROUP BY run, step
),
entropies AS (
    SELECT run, step, sum(response_sum_entropy) / nullif(sum(n_responses), 0) AS entropy
    FROM rollups WHERE run IN (SELECT unnest($1)) AND ($5 = 'all' OR verdict = $5) GROUP BY run, step
)
SELECT p.run, p.step, p.k, p.pass_at_k, m.* EXCLUDE (run, step), e.entropy
FROM points p JOIN measures m ON m.run = p.run AND m.step = p.trained_step
JOIN entropies e ON e.run = p.run AND e.step = p.trained_step ORDER BY p.run, p.step
"""


def show() -> None:
    """The page."""
    heading(
        "Concentration against pass@K",
        "Each point is a checkpoint: how concentrated its next-token distribution is, and its pass@k; the large point "
        "is the latest. A bad sign is a path that runs down as concentration grows (to the right for Λ(1), to the left "
        "for entropy): fewer problems can still be solved.",
    )
    live(draw)


def draw(view: View) -> None:
    """The choices, the scatter and the correlations."""
    chosen = choose_source(view, "concentration_source")
    points = view.frame(_POINTS, *chosen, view.verdict) if chosen else pd.DataFrame()
    if points.empty:
        return empty(
            view, f"No evaluation with a complete training step{judged(view)} beside it in the selected runs yet."
        )
    tell_subset(view, applies="the measure of concentration", not_to="pass@k")
    available = sorted(int(k) for k in points["k"].unique())
    usual = max(sum(k <= max(K_SHOWN) for k in available) - 1, 0)
    left, right = st.columns(2)
    measure = left.selectbox("Concentration", list(MEASURES), format_func=MEASURES.__getitem__, key="measure")
    k = right.selectbox("k of pass@k", available, index=usual, key="concentration_k")
    rows = points[points["k"] == k].assign(x=points[measure], y=points["pass_at_k"]).dropna(subset=["x", "y"])
    figure = charts.concentration_scatter(
        rows, view.looks, x_title=MEASURES[measure] + _only(view), y_title=f"pass@{k}"
    )
    table = correlations(rows[["run", "step", "x", "y"]])
    live_chart(figure, key=f"concentration-{measure}-{k}")
    st.dataframe(literal_frame(table), hide_index=True, placeholder="–", width="stretch")
    st.markdown(words(len(rows)))


@st.cache_data(show_spinner=False, max_entries=64)
def correlations(points: pd.DataFrame) -> pd.DataFrame:
    """Pearson's r of x and y, plain and with the step taken out, of each run and of all points together."""
    parts = [(str(run), part) for run, part in points.groupby("run", sort=False)]
    if len(parts) > 1:
        parts.append(("all selected runs", points))
    rows = []
    for name, part in parts:
        x, y, step = part["x"].to_numpy(float), part["y"].to_numpy(float), part["step"].to_numpy(float)
        rows.append(
            {
                "run": name,
                "checkpoints": len(part),
                "r": _figure(pearson(x, y), correlation_interval(x, y, resamples=400)),
                "r with the step taken out": _figure(
                    partial_correlation(x, y, step), correlation_interval(x, y, step, resamples=400)
                ),
            }
        )
    return pd.DataFrame(rows)


def words(n: int) -> str:
    """What n checkpoints allow to be said."""
    if n < 3:
        return f"{n} checkpoint{'s' * (n != 1)}: a correlation needs three at least."
    few = f"{n} checkpoints are too few to conclude anything from r. " if n < FEW else ""
    return (
        f"{few}In brackets: 95 % bootstrap intervals that treat checkpoints as independent. Those of one run are not, "
        "so the truth is less certain than they look. Everything that drifts with training correlates; the second "
        "column takes a straight line in the step out of both sides first."
    )


def _only(view: View) -> str:
    return "" if view.verdict == "all" else f" · {view.verdict} only"


def _figure(r: float, interval: tuple[float, float]) -> str:
    if math.isnan(r):
        return "not defined"
    low, high = interval
    return f"{r:+.2f}" + ("" if math.isnan(low) else f"  [{low:+.2f}, {high:+.2f}]")
