"""Page: whether logging keeps up, what it costs the training, and what is missing from the files."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ...store.layout.liveness import in_words
from ...store.reading.incomplete_steps import incomplete_steps
from ...store.reading.sampled_rows import rows_in_words
from ..components import charts
from ..components.live_chart import live_chart
from ..components.names import literal_frame
from ..components.run_states import age_of, duration, standstills
from ..components.view import View, empty, every_nth, heading, live, plain, tell_subset

_MOST_POINTS = 200
_RUNS = """
SELECT r.run, r.status, r.last_seen, r.last_step, w.world_size,
       c.share, c.step_ms, c.probe_ms, c.longest_wait_ms, c.bytes_per_token, c.n_bytes, c.n_files, c.n_token_rows,
       r.dropped, r.n_nonfinite, f.rows_every, f.rows_share, f.precision
FROM runs r JOIN run_costs c USING (run) JOIN run_info f USING (run)
LEFT JOIN (SELECT run, arg_max(world_size, attempt) AS world_size FROM attempts GROUP BY run) w USING (run)
WHERE r.run IN (SELECT unnest($1))
"""
_STEPS = """
WITH processes AS (
    SELECT run, step, avg(step_ms) AS step_ms, avg(probe_ms) AS probe_ms, avg(queue_wait_ms) AS queue_wait_ms,
           sum(n_dropped) AS n_dropped, sum(sum(n_bytes)) OVER (PARTITION BY run ORDER BY step) AS bytes_so_far
    FROM costs WHERE run IN (SELECT unnest($1)) GROUP BY run, step
)
SELECT run, (step - 1) // $2 * $2 + $2 AS step, avg(step_ms) AS step_ms, avg(probe_ms) AS probe_ms,
       sum(probe_ms + queue_wait_ms) FILTER (step_ms IS NOT NULL) / nullif(sum(step_ms), 0) AS share,
       avg(queue_wait_ms) AS queue_wait_ms, sum(n_dropped) AS n_dropped, max(bytes_so_far) / 1e6 AS megabytes
FROM processes GROUP BY ALL ORDER BY run, step
"""
_ENDS = "SELECT min(step) AS first, max(step) AS last FROM costs WHERE run IN (SELECT unnest($1))"


def show() -> None:
    """The page."""
    heading(
        "Health of the log",
        "What the probe takes of each step's time and of the disk, and whether everything arrives. A bad "
        "sign is time spent waiting for the queue: the disk does not keep up.",
    )
    live(draw, ages=True)


def draw(view: View) -> None:
    """The table, what is wrong, then cost by step."""
    table = view.frame(_RUNS)
    if table.empty:
        return empty(view, "No run to tell of yet.")
    tell_subset(view, not_to="everything here")
    table = table.sort_values("run", key=lambda runs: runs.map(view.mirror.order))
    ages = {run.name: age_of(run) for run in view.mirror.runs}
    _table(table, ages)
    with view.mirror.snapshot() as cursor:
        unreported = incomplete_steps(cursor)
    complaints = [*map(plain, [*view.mirror.problems, *unreported, *standstills(table, ages)]), *_complaints(table)]
    for complaint in complaints:
        st.warning(complaint)
    if not complaints:
        st.success("Every file is whole, every step complete, nothing was dropped.")
    ends = view.frame(_ENDS)
    if ends["last"].isna().all():
        st.markdown("No cost by step: the selected runs are older than its recording, or have not ended a step.")
        return None
    every = every_nth(int(ends["first"].iloc[0]), int(ends["last"].iloc[0]), _MOST_POINTS)
    live_chart(charts.cost_over_steps(view.frame(_STEPS, every), view.looks), key="health")
    means = f" Means over {every} steps; of what was dropped, the sum." if every > 1 else ""
    st.caption(
        "Wall time. Probe: reading what the model has scored and handing it on, on the training thread or, if "
        f"that is longer, on the GPU. Writing is done on another thread, every few seconds: hence the stairs.{means}"
    )
    return None


def _complaints(table: pd.DataFrame) -> list[str]:
    """What is wrong with each run, a line each."""
    lines = []
    for row in _records(table):
        name = plain(row["run"])
        if row["dropped"]:
            lines.append(f"{name}: {row['dropped']} micro-batches were scored but not logged.")
        if row["n_nonfinite"]:
            lines.append(f"{name}: {row['n_nonfinite']} tokens had NaN or infinite statistics; no mean counts them.")
        waited = row["longest_wait_ms"]
        if pd.notna(waited) and waited > row["step_ms"]:
            lines.append(f"{name}: training waited {waited:.0f} ms for the log in one step; is the disk slow?")
    return lines


def _table(table: pd.DataFrame, ages: dict[str, float | None]) -> None:
    number = st.column_config.NumberColumn
    shown = table.assign(
        age=["" if (age := ages.get(run)) is None else duration(age) for run in table["run"]],
        status=[in_words(*row) for row in table[["status", "last_seen"]].itertuples(index=False)],
        share=100 * table["share"],
        megabytes=table["n_bytes"] / 1e6,
        kept=[_kept(row) for row in _records(table)],
    )
    st.dataframe(
        literal_frame(shown),
        hide_index=True,
        placeholder="–",
        width="stretch",
        column_order=[
            "run", "status", "last_step", "age", "world_size", "share", "probe_ms", "step_ms",
            "bytes_per_token", "megabytes", "kept", "n_files", "n_token_rows",
        ],
        column_config={
            "last_step": number("steps"),
            "age": st.column_config.TextColumn("written", help="how long ago its newest file was written"),
            "world_size": number("processes"),
            "share": number("probe's share", format="%.1f %%", help="of the steps' wall time"),
            "probe_ms": number("probe ms per step", format="%.1f"),
            "step_ms": number("step ms", format="%.0f"),
            "bytes_per_token": number("bytes per token row", format="%.1f"),
            "megabytes": number("MB", format="%.1f"),
            "n_files": number("files"),
            "n_token_rows": number("token rows", format="localized"),
            "kept": st.column_config.TextColumn("token rows of", help="roll-ups count every token in any case"),
        },
    )  # fmt: skip


def _kept(row: dict[str, Any]) -> str:
    """Which token rows there are, in words."""
    share = None if pd.isna(row["rows_share"]) else row["rows_share"]
    kept = rows_in_words(row["rows_every"], share).removeprefix("token rows of ") or "all"
    return f"{kept}, bfloat16" if row["precision"] == "bfloat16" else kept


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]
