"""Page: SQL over the runs, for questions that no page asks (`store/reading/sandbox.py` bounds what they can do)."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from ...store.errors import SimkoError
from ...store.reading.named_queries import defaults_of, named_queries
from ...store.reading.sandbox import ask
from ...store.reading.views import VIEWS
from ..components.names import literal, literal_frame
from ..components.view import heading, plain, runs_folder

_ROWS = 1000
_SECONDS = 15.0
_FIRST = "SELECT run, step, k, lambda_k\nFROM lambda_k\nWHERE verdict = 'all' AND k <= 3\nORDER BY run, step, k"
_OWN = "your own"
_STYLE = "<style>textarea { font: 0.85rem 'Source Code Pro', monospace !important; }</style>"


def show() -> None:
    """The page."""
    heading(
        "SQL",
        "One SELECT over every run of the folder. It can read the runs and nothing else: no files, no network, no "
        f"settings; at most {_SECONDS:.0f} seconds, {_ROWS} rows and 16 MB.",
    )
    st.html(_STYLE)
    state = st.session_state
    state.setdefault("sql", _FIRST)
    queries = named_queries()
    st.selectbox(
        "Start from",
        [_OWN, *queries],
        key="sql_from",
        format_func=lambda name: name if name == _OWN else f"{name}: {queries[name].description}",
        on_change=lambda: state.update(sql=_FIRST if state.sql_from == _OWN else queries[state.sql_from].sql),
    )
    with st.form("console", border=False):
        st.text_area("SQL", key="sql", height=220)
        asked = st.form_submit_button("Ask", type="primary")
    st.caption(f"Views: {', '.join(f'`{view}`' for view in VIEWS)}. Their columns are in docs/schema.md.")
    if asked:
        _answer(state.sql)


def _answer(sql: str) -> None:
    try:
        with st.spinner("Asking …"):
            answer = ask(runs_folder(), sql, parameters=defaults_of(sql), seconds=_SECONDS, rows=_ROWS)
    except SimkoError as error:
        st.error(plain(str(error)))
        return
    for problem in answer.problems:
        st.warning(plain(problem))
    more = (
        f"{'the first ' if answer.cut else ''}{len(answer.rows)} rows{', all that 16 MB hold' if answer.full else ''}"
    )
    shown = answer.rows.set_axis(_distinct(map(literal, answer.rows.columns)), axis=1)
    st.dataframe(literal_frame(shown), hide_index=True, placeholder="NULL", width="stretch")
    st.caption(f"{more}, {answer.seconds:.2f} s")


def _distinct(names: Iterable[str]) -> list[str]:
    """Names of columns, those that come again with a number: `a`, `a_1`. A table that is shown has each once."""
    every, result = list(names), dict[str, None]()
    for name in every:
        number, distinct = 0, name
        while distinct in result or (number and distinct in every):
            number += 1
            distinct = f"{name}_{number}"
        result[distinct] = None
    return list(result)
