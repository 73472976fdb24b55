"""Page: one response, token by token, with the ranked candidates the policy had at each.

Texts of prompts and responses are untrusted: they are shown as plain text or through `textContent`, never as markup.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import streamlit as st

from ...store.reading.sampled_rows import sampled_runs
from ..components import charts
from ..components.live_chart import live_chart
from ..components.names import literal, literal_frame
from ..components.token_strip import COLOUR_BY, token_strip, token_text
from ..components.view import View, empty, heading, live

_STEPS = "SELECT DISTINCT run, step FROM responses WHERE run IN (SELECT unnest($1)) ORDER BY run, step DESC"
_NEXT = "SELECT min(step) AS step FROM responses WHERE run = $1 AND attempt = $2 AND generation > $3"

_MOST_STEPS = 1000
"""How far after its rollout batch began the newest batch's responses are looked for."""

_LONGEST_TEXT = 600
"""Characters of a prompt or response, and of a candidate below the chart, that are shown at once."""


def show() -> None:
    """The page."""
    heading(
        "One response",
        "The tokens of one response as the policy scored them, and what else it might have written. A bad sign is a "
        "wrong response without a single uncertain token: nothing is left that another sample would do differently.",
    )
    live(draw)


def draw(view: View) -> None:
    """The choice of run and step, the list of responses, then the chosen one."""
    steps = view.frame(_STEPS)
    if steps.empty:
        return empty(view, "No response in the selected runs yet.")
    left, right = st.columns(2)
    run = left.selectbox("Run", list(dict.fromkeys(steps["run"])), format_func=literal, key="response_run")
    step = right.selectbox("Step", [int(s) for s in steps.loc[steps["run"] == run, "step"]], key=f"response_step-{run}")
    try:
        listed = view.mirror.step_responses(str(run), int(step))
    except duckdb.Error as error:
        st.warning(f"The responses of this step cannot be read ({str(error).splitlines()[0]}).")
        return
    if view.verdict != "all":
        listed = listed[listed["verdict"] == view.verdict].reset_index(drop=True)
    if listed.empty:
        st.info(f"No response of step {step} was judged {view.verdict}; choose another step, or `all` in the sidebar.")
        return
    with view.mirror.snapshot() as cursor:
        kept = sampled_runs(cursor).get(str(run), "")
    try:
        if kept:
            logged = view.mirror.logged_responses(
                str(run), int(step), _last_step(view, str(run), int(step), listed.iloc[0])
            )
            listed["logged"] = [key in logged for key in zip(listed["attempt"], listed["response_id"], strict=True)]
        place = _choose(listed, key=f"responses-{run}-{step}-{view.verdict}")
        if kept:
            st.caption(f"This run holds {kept}: the column logged ticks what can be read token by token.")
        response = listed.iloc[place]
        tokens = _tokens(view, str(run), int(step), response)
    except duckdb.Error as error:
        st.warning(f"The token rows of this response cannot be read ({str(error).splitlines()[0]}).")
        return
    _draw_response(view, str(run), response, tokens)


def _choose(listed: pd.DataFrame, key: str) -> int:
    """The row chosen; until one is, the first whose token rows were logged."""
    chosen = st.dataframe(
        literal_frame(listed),
        key=key,
        hide_index=True,
        placeholder="–",
        width="stretch",
        height=min(38 + 35 * len(listed), 250),
        on_select="rerun",
        selection_mode="single-row",
        column_order=[
            "logged", "verdict", "completion", "prompt", "reward", "advantage", "n_tokens", "truncated", "response_id",
        ],
        column_config={
            "completion": st.column_config.TextColumn("response", width="medium"),
            "prompt": st.column_config.TextColumn(width="medium"),
            "reward": st.column_config.NumberColumn(format="%.2f"),
            "advantage": st.column_config.NumberColumn(format="%.2f"),
            "n_tokens": st.column_config.NumberColumn("tokens"),
            "response_id": st.column_config.NumberColumn("id"),
        },
    )  # fmt: skip
    rows = chosen["selection"]["rows"]
    if rows and rows[0] < len(listed):
        return int(rows[0])
    return int(listed["logged"].to_numpy().argmax()) if "logged" in listed else 0


def _tokens(view: View, run: str, step: int, response: pd.Series) -> pd.DataFrame:
    """Its token rows, from the steps between its rollout batch and the next."""
    last = _last_step(view, run, step, response)
    return view.mirror.response_tokens(run, int(response["attempt"]), int(response["response_id"]), step, last)


def _last_step(view: View, run: str, step: int, response: pd.Series) -> int:
    """The last step that can have scored the rollout batch of a response, whose first one is `step`."""
    attempt, generation = int(response["attempt"]), response["generation"]
    following = view.mirror.frame(_NEXT, [run, attempt, None if pd.isna(generation) else int(generation)])["step"]
    last = int(following.iloc[0]) - 1 if following.notna().all() else step + _MOST_STEPS
    return max(last, step)


def _draw_response(view: View, run: str, response: pd.Series, tokens: pd.DataFrame) -> None:
    st.subheader(f"Response {int(response['response_id'])}: {response['verdict']}")
    _text(response["prompt"] if isinstance(response["prompt"], str) else "(prompt not recorded)")
    if tokens.empty:
        st.info("No token rows were logged for this response; its text and sums are all there is.")
        _text(response["completion"] or "")
        return
    key = f"{run}-{response['attempt']}-{response['response_id']}"
    scored = sorted(int(s) for s in tokens["step"].unique())
    left, right = st.columns(2)
    by = left.segmented_control("Colour by", list(COLOUR_BY), default="surprise", key="colour_by") or "surprise"
    at = scored[0]
    if len(scored) > 1:
        at = right.segmented_control("Scored at step", scored, default=at, key=f"scored-{key}") or at
    rows = tokens[tokens["step"] == at].reset_index(drop=True)
    chosen = token_strip(rows, by=by, key=f"strip-{key}-{at}")
    st.caption(
        f"Colour: {COLOUR_BY[by]}, the deeper the larger. Violet underline: forking token. "
        "Click a token to see its candidates."
    )
    row = rows.iloc[chosen]
    ranked = _candidates(view, run, row)
    live_chart(charts.candidates(ranked, view.looks[run].css), key="candidates")
    long = ranked[ranked["text"].str.len() > charts.LONGEST_TOKEN]
    if len(long):
        with st.expander(f"The {len(long)} long candidates in full"), st.container(height=300, border=False):
            for rank, text in long[["rank", "text"]].itertuples(index=False):
                st.text(f"rank {rank}: {text}")
    beyond = (
        ""
        if row["token_id"] in _values(row["ids"])
        else f" The sampled token, rank {row['rank']}, is beyond those logged."
    )
    st.caption(
        f"Position {int(row['position'])}: entropy {row['entropy']:.3f} nats, log p of the sampled token "
        f"{row['logprob']:.3f} nats, collision probability {row['collision']:.3f}.{beyond}"
    )


def _text(text: str) -> None:
    """A prompt or response as it is; of a long one the beginning, and all of it on demand."""
    shown = literal(text, running=True)
    if len(shown) <= _LONGEST_TEXT:
        st.text(shown)
        return
    st.text(f"{shown[:_LONGEST_TEXT]} …")
    with st.expander(f"All {len(shown):,} characters"), st.container(height=300, border=False):
        st.text(shown)


def _candidates(view: View, run: str, row: pd.Series) -> pd.DataFrame:
    """Rank, text, probability and whether it was sampled, of each logged candidate; the sampled one added if beyond."""
    result = [
        (rank, int(token), float(np.exp(logp)))
        for rank, (token, logp) in enumerate(zip(_values(row["ids"]), _values(row["logp"]), strict=True), 1)
        if not pd.isna(token) and not pd.isna(logp)
    ]
    sampled = int(row["token_id"])
    if all(token != sampled for _, token, _ in result):
        result.append((int(row["rank"]), sampled, float(np.exp(row["logprob"]))))
    ids = [token for _, token, _ in result]
    sql = "SELECT token_id, text FROM vocabulary WHERE run = $1 AND token_id IN (SELECT unnest($2))"
    known = view.mirror.frame(sql, [run, ids])
    texts = dict(zip(known["token_id"], known["text"], strict=True))
    return pd.DataFrame(
        [(rank, token_text(texts.get(token), token), p, token == sampled) for rank, token, p in result],
        columns=["rank", "text", "probability", "sampled"],
    )


def _values(listed: Any) -> list[Any]:
    """A cell's list, None at the ranks a run did not log (a masked array where they are integers)."""
    values: list[Any] = np.ma.asarray(listed).tolist()
    return values
