"""How a run stands, with its age: `running, written 3 s ago`, `silent for 4 min`.

A writer that is stopped, or whose machine is gone, gives no sign of life any more (`store/layout/liveness`). One whose
training hangs still does: then its age tells, and a line says so once it is that of many steps.
"""

from __future__ import annotations

import math
import time

import pandas as pd

from ...store.layout.liveness import SILENT_SECONDS, in_words
from ...store.reading.loaded_runs import Run

_MOST_STEPS = 10
"""So many mean steps without a file are worth a line, and never less than a writer may be quiet in any case."""


def age_of(run: Run) -> float | None:
    """Seconds since its newest file was written; None where it has none."""
    newest = max((part.path for part in run.manifest.parts), default=None, key=lambda path: path.name)
    try:
        return None if newest is None else max(0.0, time.time() - newest.stat().st_mtime)
    except OSError:
        return None


def duration(seconds: float) -> str:
    """For people: `3 s`, `4 min`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def state_in_words(status: str, last_seen: str | None, lost: int, age: float | None) -> str:
    """A run's status with its age, while it may be running."""
    words = in_words(status, last_seen, lost)
    return f"{words}, written {duration(age)} ago" if status == "running" and age is not None else words


def standstills(table: pd.DataFrame, ages: dict[str, float | None]) -> list[str]:
    """A line for each run that should be running and does not get on.

    Args:
        table: columns run, status, last_seen, step_ms (mean; NULL where it is not known).
        ages: run → `age_of`.
    """
    lines = []
    for run, status, last_seen, step_ms in table[["run", "status", "last_seen", "step_ms"]].itertuples(index=False):
        age = ages.get(run)
        patience = max(SILENT_SECONDS, 0 if pd.isna(step_ms) else _MOST_STEPS * step_ms / 1000)
        if status == "silent":
            lines.append(
                f"{run} is {in_words(status, last_seen)}: its process is stopped or hangs, or its machine is gone or "
                "does not see the folder; look at it there"
            )
        elif status == "running" and age is not None and age > patience:
            steps = "" if pd.isna(step_ms) else f", {math.floor(age / step_ms * 1000)} times its mean step"
            lines.append(f"{run} has written nothing for {duration(age)}{steps}: its process lives; does it hang?")
    return lines
