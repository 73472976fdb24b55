"""Page: the distribution of token entropies over steps, its mean, and how often the sampled token was the likeliest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from ..components import charts, panels
from ..components.live_chart import live_chart
from ..components.view import View, empty, every_nth, heading, judged, live, over_steps, tell_subset

_MOST_COLUMNS = 400
_MEANS = """
SELECT run, step, sum(sum_entropy) / nullif(sum(n_tokens), 0) AS entropy,
       sum(n_rank_1) / nullif(sum(n_tokens), 0) AS rank_1
FROM rollups WHERE run IN (SELECT unnest($1)) AND complete AND ($2 = 'all' OR verdict = $2)
GROUP BY run, step ORDER BY run, step
"""
_HISTOGRAMS = """
SELECT run, step, entropy_histogram AS histogram FROM rollups
WHERE run IN (SELECT unnest($1)) AND complete AND ($2 = 'all' OR verdict = $2) AND step % $3 = 0
      AND entropy_histogram IS NOT NULL
ORDER BY run, step
"""


def show() -> None:
    """The page."""
    heading(
        "Entropy",
        "How uncertain the policy is at each token, over training. Most tokens are near 0 in any good policy; a bad "
        "sign is the upper band fading out altogether: those are the tokens where another answer could have begun.",
    )
    live(draw)


def draw(view: View) -> None:
    """Means, then the histogram over steps for each run."""
    means = view.frame(_MEANS, view.verdict)
    if means.empty:
        return empty(view, f"No complete step{judged(view)} in the selected runs yet.")
    tell_subset(view, applies="means and distribution")
    every = every_nth(int(means["step"].min()), int(means["step"].max()), _MOST_COLUMNS)
    histograms = summed(view.frame(_HISTOGRAMS, view.verdict, every))
    over_steps(view, panels.of_subset(charts.entropy_means(means, view.looks), view.verdict), key="entropy-means")
    st.subheader("Distribution over steps")
    st.markdown(
        "The deeper the colour, the larger the share of the step's tokens (its square root, so that rare ones show)."
    )
    if histograms.empty:
        return empty(view, "No histogram in the selected runs yet.")
    live_chart(panels.of_subset(charts.entropy_heatmap(histograms, view.looks), view.verdict), key="entropy-heatmap")
    if every > 1:
        st.caption(f"Every {every}th step is drawn.")


def summed(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per run and step: the histograms of its verdicts and processes added up."""
    rows = [
        {"run": run, "step": step, "histogram": np.sum([np.asarray(h) for h in part["histogram"]], axis=0)}
        for (run, step), part in frame.groupby(["run", "step"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["run", "step", "histogram"])
