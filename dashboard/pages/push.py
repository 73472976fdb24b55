"""Page: what pushes probability where, by the verdict of the answers, and how much of it was measured to arrive."""

from __future__ import annotations

import streamlit as st

from ..components import charts, panels
from ..components.live_chart import live_chart
from ..components.view import View, empty, every_nth, heading, judged, live, over_steps, tell_subset

_MOST_POINTS = 60
_PUSHES = """
SELECT run, verdict, k, (step - 1) // $2 * $2 + $2 AS step, avg(push) AS push, avg(forking_push) AS forking_push,
       avg(shift) AS shift
FROM push WHERE run IN (SELECT unnest($1)) AND complete AND k <= 3 AND verdict IN (SELECT unnest($3))
GROUP BY ALL ORDER BY run, verdict, k, step
"""
_STEPS = "SELECT min(step) AS first, max(step) AS last FROM push WHERE run IN (SELECT unnest($1))"
COLUMNS = {"push": "all tokens", "forking_push": "forking tokens"}


def show() -> None:
    """The page."""
    heading(
        "What pushes Λ(k)",
        "How the loss of each step pushes log p of the rank-k candidate, to first order: from right answers the line "
        "of the run, from wrong ones a dotted one. Above 0 for rank 1 and below it for the others, probability is "
        "being piled up; the line that lies farther out is what piles it up.",
    )
    live(draw)


def draw(view: View) -> None:
    """The push by verdict, then what was measured where steps were scored again."""
    ends = view.frame(_STEPS)
    if ends.empty or ends["last"].isna().all():
        return empty(view, "No step with a known loss in the selected runs yet (older runs have none).")
    every = every_nth(int(ends["first"].iloc[0]), int(ends["last"].iloc[0]), _MOST_POINTS)
    shown = ["right", "wrong"] if view.verdict == "all" else [view.verdict]
    rows = view.frame(_PUSHES, every, [*shown, "all"])
    tell_subset(view, applies="the push", not_to="what arrived")
    names = {title: column for column, title in COLUMNS.items()}
    title = st.segmented_control("Tokens", list(names), default="all tokens", key="push_tokens") or "all tokens"
    split = rows.assign(y=rows[names[title]])[rows["verdict"] != "all"].dropna(subset=["y"])
    if split.empty:
        return empty(view, f"No step with a known loss{judged(view)} in the selected runs yet.")
    figure = panels.of_subset(charts.push_over_steps(split, view.looks), view.verdict)
    over_steps(view, figure, key=f"push-{names[title]}")
    if every > 1:
        st.caption(f"Means over {every} steps." + " The two lines add up to the push of the step." * (len(shown) == 2))
    st.subheader("What arrived")
    measured = rows[rows["verdict"] == "all"].dropna(subset=["shift"])
    if measured.empty:
        st.markdown("No step was scored again. `simko-train --probe --probe_rescore 4` measures every fourth one.")
        return None
    st.markdown(
        "The change of log p of the rank-k candidate by the step itself, measured by scoring its tokens again, against "
        "the push. Points along a rising line: the push says what happens."
    )
    live_chart(charts.push_against_shift(measured, view.looks), key="push-shift")
    return None
