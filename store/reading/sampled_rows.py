"""Which runs hold fewer token rows than were scored, in words: what reads token rows says it beside its answer.

    long: token rows of 1 in 10 steps, 1 in 4 responses

The dashboard's token pages and `simko query` say them. Roll-ups, and what is made from them, count every token.
"""

from __future__ import annotations

import re
from typing import Any

_READS_ROWS = re.compile(
    r"\b(all_tokens|tokens|token_push|token_push_terms|push_under|token_entropy_push|entropy_push_under|credit_under|"
    r"token_gradient|mismatch)\b",
    re.I,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)


def sampled_runs(connection: Any) -> dict[str, str]:
    """Run → which of its token rows are there, for those that do not hold all.

    Args:
        connection: a DuckDB connection or cursor with the store's tables.
    """
    result = connection.execute("SELECT run, rows_every, rows_share FROM run_info ORDER BY run").fetchall()
    return {run: words for run, every, share in result if (words := rows_in_words(every, share))}


def rows_in_words(every: int, share: float | None) -> str:
    """`token rows of 1 in 10 steps, 1 in 4 responses`; empty where all are kept.

    Args:
        every: steps between those whose token rows are written.
        share: of the responses whose token rows are written; None is unknown.
    """
    parts = [] if every <= 1 else [f"1 in {every} steps"]
    if share is not None and 0 < share < 1:
        whole = abs(1 / share - round(1 / share)) < 1e-6
        parts.append(f"1 in {round(1 / share)} responses" if whole else f"{100 * share:.3g} % of the responses")
    return f"token rows of {', '.join(parts)}" if parts else ""


def reads_token_rows(sql: str) -> bool:
    """Whether a query names a view over token rows."""
    return bool(_READS_ROWS.search(_COMMENT.sub(" ", sql)))
