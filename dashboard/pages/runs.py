"""Page: every run, how it stands, what could not be read, and what its figures mean."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ...store.reading.incomplete_steps import incomplete_steps
from ...store.reading.named_queries import named_query
from ..components.names import literal_frame
from ..components.run_states import age_of, standstills, state_in_words
from ..components.view import View, breaks_of, empty, heading, live, plain, tell_breaks, tell_subset


def show() -> None:
    """The page."""
    heading(
        "Runs",
        "Every run of the folder with its latest figures. Λ(k) is the mean log-probability of the rank-k candidate, "
        "in nats; a bad sign is Λ(1) close to 0 with Λ(2) and Λ(3) far below: one continuation is left to try.",
    )
    live(draw, ages=True)


def draw(view: View) -> None:
    """The table, the problems, and the meaning of what was recorded."""
    with view.mirror.snapshot() as cursor:
        table = cursor.execute(named_query("overview").sql).df()
        step_ms = dict(cursor.execute("SELECT run, step_ms FROM run_costs").fetchall())
        unreported = incomplete_steps(cursor)
    problems = list(view.mirror.problems)
    order = view.mirror.order
    ages = {run.name: age_of(run) for run in view.mirror.runs}
    if table.empty:
        empty(view, "")
    else:
        tell_subset(view, not_to="every figure of this table")
        table = table.sort_values("run", key=lambda runs: runs.map(order))
        _table(table, ages)
    for line in standstills(table.assign(step_ms=table["run"].map(step_ms)), ages):
        st.warning(plain(line) + ".")
    for problem in problems:
        st.warning(plain(problem))
    for line in unreported:
        st.warning(plain(line) + ".")
    for run, lost in table.loc[table["dropped"] > 0, ["run", "dropped"]].itertuples(index=False):
        st.warning(f"{plain(run)}: {lost} batches were not logged (the disk could not keep up, or a write failed).")
    for run, left_out in table.loc[table["n_nonfinite"] > 0, ["run", "n_nonfinite"]].itertuples(index=False):
        st.warning(
            f"{plain(run)}: {left_out} tokens had a statistic that is not finite and are left out of every mean."
        )
    if not table.empty:
        st.subheader("What was recorded")
        st.markdown("Figures of two runs compare only where these agree.")
        st.dataframe(
            literal_frame(_semantics(view, list(table["run"]))), hide_index=True, placeholder="–", width="stretch"
        )
        tell_breaks(breaks_of(view))


def _table(table: pd.DataFrame, ages: dict[str, float | None]) -> None:
    number = st.column_config.NumberColumn
    shown = table.assign(
        status=[
            state_in_words(status, last_seen, lost, ages.get(run))
            for run, status, last_seen, lost in table[["run", "status", "last_seen", "dropped"]].itertuples(index=False)
        ],
        pass_most_k=[_most(k) for k in table["most"]],
        pass_1=100 * table["pass_1"],
        pass_most=100 * table["pass_most"],
    )
    st.dataframe(
        literal_frame(shown),
        hide_index=True,
        placeholder="–",
        width="stretch",
        column_order=[
            "run", "status", "method", "last_step", "lambda_1", "lambda_2", "lambda_3",
            "pass_1", "pass_most", "pass_most_k", "source", "task", "model", "attempts", "n_tokens", "created",
        ],
        column_config={
            "last_step": number("steps"),
            "lambda_1": number("Λ(1) nats", format="%.3f"),
            "lambda_2": number("Λ(2) nats", format="%.3f"),
            "lambda_3": number("Λ(3) nats", format="%.3f"),
            "pass_1": number("pass@1", format="%.1f %%"),
            "pass_most": number("pass@K", format="%.1f %%", help="at the largest K up to 256 that can be estimated"),
            "pass_most_k": st.column_config.TextColumn("K"),
            "source": st.column_config.TextColumn("measured", help="exact, sampled, or from the training rollouts"),
            "n_tokens": number("tokens", format="localized"),
        },
    )  # fmt: skip


def _most(k: float) -> str:
    return "" if pd.isna(k) else str(int(k))


def logprobs_in_words(probe: dict[str, Any]) -> str:
    """Of which distribution the logged log-probabilities are, from the entry `probe` of `run.json`."""
    kind = str(probe.get("logprobs"))
    if kind != "raw":
        return kind
    temperature = probe.get("temperature")
    if not isinstance(temperature, (int, float)):
        return "raw, at a temperature that is not recorded"
    return f"raw: of softmax(logits / {temperature:g})"


def _semantics(view: View, runs: list[str]) -> pd.DataFrame:
    """One row a run, one column a fact."""
    folders = {result.name: str(result.path) for result in view.mirror.runs}
    facts = []
    for run in runs:
        info = view.mirror.info(run)
        probe = info.get("probe") or {}
        options = info.get("hyperparameters") or {}
        facts.append(
            {
                "run": run,
                "K": probe.get("k"),
                "temperature": probe.get("temperature"),
                "log-probabilities": logprobs_in_words(probe),
                "entropy": probe.get("entropy"),
                "forking tokens": probe.get("forking"),
                "ties": probe.get("tie_rule"),
                "dataset": info.get("dataset"),
                "hyper-parameters": ", ".join(f"{name} = {value}" for name, value in options.items()),
                "folder": folders.get(run),
            }
        )
    return pd.DataFrame(facts).map(lambda value: "not recorded" if value in (None, "", "None") else str(value))
