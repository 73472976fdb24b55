"""`simko ls`: every run as it stands, a line each.

    simko ls                       the folder of runs: $SIMKO_RUNS, else runs
    simko ls runs/paper-laptop     another folder, or a run; a name is looked up in the folder of runs

For programs the same figures come from `simko query overview --format json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, runs_of

_SAME_EVERYWHERE = ("task", "model", "method")


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko ls", description="Every run as it stands.")
    parser.add_argument("folder", nargs="*", help="a run or a folder of runs, by name or path (default: all of --runs)")
    add_runs_option(parser)
    parser.add_argument("--all", action="store_true", help="every column, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: a folder does not exist.
    """
    runs = runs_of(options)
    rows = _overview([find_run(folder, runs) for folder in options.folder] or [runs])
    if not rows:
        print("no runs there yet; `simko-train --probe` makes one, `simko demo` shows what one looks like")
        return 0
    same = {name: rows[0][name] for name in _SAME_EVERYWHERE if len({row[name] for row in rows}) == 1}
    same = {name: value for name, value in same.items() if isinstance(value, str) and len(rows) > 1}
    _print(rows, [name for name in reversed(_SAME_EVERYWHERE) if name not in same], everything=options.all)
    if same:
        from .terminal.output import printable

        print("\nall: " + ", ".join(f"{name} {printable(value)}" for name, value in same.items()))
    return 0


def _overview(folders: Sequence[Any]) -> list[dict[str, Any]]:
    """The rows of the query `overview`; what cannot be read is named on stderr."""
    from ..store.reading.held_tables import overview
    from .terminal.opened_runs import tell_problems

    catalog, rows = overview(folders)
    tell_problems(catalog)
    return rows


def _print(rows: Sequence[Mapping[str, Any]], names: Sequence[str], *, everything: bool) -> None:
    from ..store.layout.liveness import in_words
    from .terminal.opened_runs import minute
    from .terminal.tables import Column, Table, number

    most = sorted({row["most"] for row in rows} - {None})
    best = f"pass@{most[0]}" if len(most) == 1 else "pass@K"
    table = Table(
        Column("run"),
        Column("status", importance=8),
        *(Column(name, importance=4 if name == "method" else 2) for name in names),
        Column("step", numeric=True, importance=7),
        *(Column(f"Λ({k})", numeric=True, importance=7 - k) for k in (1, 2, 3)),
        Column("pass@1", numeric=True, importance=7),
        Column(best, numeric=True, importance=7),
        Column("MB", numeric=True, importance=1),
        Column("begun", importance=1),
    )
    for row in rows:
        at = f" @{row['most']}" if len(most) > 1 and row["most"] is not None else ""
        table.add(
            row["run"],
            in_words(row["status"], row["last_seen"], row["dropped"]),
            *(row[name] for name in names),
            number(row["last_step"], 0),
            *(number(row[f"lambda_{k}"], 3) for k in (1, 2, 3)),
            number(row["pass_1"], 3),
            number(row["pass_most"], 3, after=at),
            number(row["n_bytes"] / 1e6, 1),
            minute(row["created"]),
        )
    table.print(everything=everything)
