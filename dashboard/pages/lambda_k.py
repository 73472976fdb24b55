"""Page: Λ(k) over steps, and the probability profile of the ranked candidates."""

from __future__ import annotations

import streamlit as st

from ..components import charts, panels
from ..components.live_chart import live_chart
from ..components.view import View, empty, every_nth, heading, judged, live, over_steps, tell_subset, told_ends

DEFAULT_RANKS = 3
_MOST_POINTS = 1500
_STEPS = """
SELECT run, step, k, lambda_k, n_responses FROM lambda_k
WHERE run IN (SELECT unnest($1)) AND verdict = $2 AND complete AND k <= $3 AND step % $4 = 0
ORDER BY run, k, step
"""
_PROFILE = """
WITH complete_steps AS (
    SELECT *, min(step) OVER (PARTITION BY run) AS first_step, max(step) OVER (PARTITION BY run) AS last_step
    FROM lambda_k WHERE run IN (SELECT unnest($1)) AND verdict = $2 AND complete
)
SELECT run, CASE WHEN step = last_step THEN 'latest' ELSE 'first' END AS when, step, k, probability, forking_probability
FROM complete_steps WHERE step IN (first_step, last_step)
ORDER BY run, step, k
"""


def show() -> None:
    """The page."""
    heading(
        "Λ(k) over steps",
        "The mean log-probability of the rank-k candidate, as the policy was at each step. A bad sign is Λ(1) rising "
        "towards 0 while Λ(2), Λ(3), … sink: probability gathers on one candidate and exploration ends.",
    )
    live(draw)


def draw(view: View) -> None:
    """Λ(k) for the first ranks, then the profile over all ranks."""
    profile = view.frame(_PROFILE, view.verdict)
    if profile.empty:
        return empty(view, f"No complete step{judged(view)} in the selected runs yet.")
    tell_subset(view, applies="Λ(k) and the profile")
    most = DEFAULT_RANKS
    if (logged := int(profile["k"].max())) > most:
        choices = {f"1 … {most}": most, f"1 … {logged}": logged}
        chosen = st.segmented_control("Ranks", list(choices), default=f"1 … {most}", key="lambda_ranks")
        most = choices.get(chosen or "", most)
    every = every_nth(int(profile["step"].min()), int(profile["step"].max()), _MOST_POINTS)
    steps = view.frame(_STEPS, view.verdict, most, every)
    figure = panels.of_subset(charts.lambda_over_steps(steps, view.looks), view.verdict)
    over_steps(view, figure, key=f"lambda-{most}")
    if every > 1:
        st.caption(f"Every {every}th step is drawn.")
    st.subheader("Where the probability is")
    st.markdown(
        "Mean probability of the candidate of each rank: dotted with open markers at the first step, filled markers at "
        "the latest. Forking tokens are those where the policy decides; a curve that steepens there has stopped "
        "deciding."
    )
    profile = told_ends(view, profile)
    live_chart(panels.of_subset(charts.rank_profile(profile, view.looks), view.verdict), key="profile")
