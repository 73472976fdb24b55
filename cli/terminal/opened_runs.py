"""Runs opened for the commands that show them: what cannot be read is named on stderr, the rest is served."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

from ...store.errors import RunNotFound
from ...store.reading.catalog import Catalog
from ...store.reading.loaded_runs import Run
from ...store.reading.views import VIEWS
from .output import printable

_ROLLOUT_STEPS = """
SELECT min(gap) FROM (
    SELECT step - lag(step) OVER (ORDER BY step) AS gap FROM (SELECT DISTINCT step FROM responses)
)
"""


def tell_problems(catalog: Catalog) -> None:
    """Print what could not be read, a line each, on stderr."""
    for problem in catalog.problems:
        print(f"warning: {printable(problem)}", file=sys.stderr)


def opened_run(folder: Path) -> tuple[Catalog, Run]:
    """The run of a folder, without those that lie in its sub-folders.

    Raises:
        RunNotFound: it is none; the message names the runs it holds.
    """
    catalog, run = opened_catalog(folder)
    tell_problems(catalog)
    return catalog, run


def opened_catalog(folder: Path, views: Sequence[str] = VIEWS) -> tuple[Catalog, Run]:
    """As `opened_run`, but with these views, and what cannot be read is in the catalog's `problems` alone.

    Raises:
        RunNotFound: it is none.
    """
    catalog = Catalog(folder, views, nested=False)
    catalog.leave_out_damaged_sums()
    if [run.path for run in catalog.runs] != [folder]:
        tell_problems(catalog)
        names = ", ".join(printable(run.name) for run in catalog.runs[:5])
        raise RunNotFound(f"{folder} is no run" + (f"; it holds runs: {names}" if names else "; `simko ls` lists runs"))
    return catalog, catalog.runs[0]


def rollout_steps(connection: duckdb.DuckDBPyConnection) -> int:
    """Optimizer steps that train on one rollout batch, as far as the log tells."""
    result = connection.execute(_ROLLOUT_STEPS).fetchone()
    return int(result[0]) if result and result[0] else 1


def minute(moment: str | None) -> str:
    """An ISO time up to its minute."""
    return (moment or "")[:16].replace("T", " ")
