"""Runs whose first steps were written and cannot be read: the earliest figure left is not that of their start.

torn: steps 1 to 4 were written and cannot be read whole; step 5 is the earliest left, and not the first
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from .loaded_runs import Run

StartTable = Literal["rollups", "responses", "evals"]
_WHOLE = {"rollups": "rollups WHERE complete", "responses": "responses", "evals": "evals"}


def lost_starts(connection: Any, runs: Iterable[Run], table: StartTable = "rollups") -> dict[str, tuple[int, int]]:
    """Run → (the first step written, the first that can be read), of runs where these differ.

    Args:
        connection: a DuckDB connection or cursor with the store's views.
        runs: whose manifests say what was written.
        table: of which figures; of roll-ups a step counts that every process has reported.
    """
    earliest = f"SELECT run, min(step) FROM {_WHOLE[table]} GROUP BY run"
    there = dict(connection.execute(earliest).fetchall())
    lost = {}
    for run in runs:
        written = min((part.first_step for part in run.manifest.written if part.table == table), default=None)
        if written is not None and (left := there.get(run.name)) is not None and left > written:
            lost[run.name] = int(written), int(left)
    return lost


def lost_start_in_words(run: str, written: int, left: int) -> str:
    """One line for people."""
    steps = f"step {written} was" if left == written + 1 else f"steps {written} to {left - 1} were"
    return f"{run}: {steps} written and cannot be read whole; step {left} is the earliest left, and not the first"
