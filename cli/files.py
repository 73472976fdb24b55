"""`simko files`: the Parquet files of a table that count, and which of their rows do, for readers without this package.

    simko files first --table rollups                  a JSON list, one object per file (`LiveFile` says the fields)
    simko files first --table tokens --format paths    a path a line
    simko files first --table tokens --format sql      one SELECT for any DuckDB: simko files … | duckdb

A damaged or missing file is a warning on stderr, and is left out. So is, as a note, what a list of paths cannot say.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from ..store.errors import UsageError
from .terminal.output import printable
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, runs_of

if TYPE_CHECKING:
    from ..store.reading.live_files import LiveFile

FORMATS = ("json", "paths", "sql")
TABLES = ("tokens", "responses", "rollups", "evals", "costs", "samples")
"""As in `store/layout/schema.py`, which loads more than a mistake or a Tab needs."""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko files", description="The Parquet files of a table that count, and which rows do.")
    parser.add_argument("run", nargs="*", help="a run or a folder of runs, by name or path (default: all of --runs)")
    add_runs_option(parser)
    parser.add_argument("--table", choices=TABLES, required=True, help="which table's files")
    parser.add_argument("--format", choices=FORMATS, default="json", help="how they are written (default: json)")
    parser.add_argument("--verify", action="store_true", help="read every file to its end and compare its checksum")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: a folder does not exist, or the format cannot say what is there.
    """
    from ..store.reading.live_files import live_files, select, twice_evaluated

    runs = runs_of(options)
    folders = [find_run(name, runs) for name in options.run] or [runs]
    files, problems = live_files(folders, options.table, verify=options.verify)
    for problem in problems:
        print(f"warning: {printable(problem)}", file=sys.stderr)
    if options.format == "sql":
        print(f"{select(files)};")
        return 0
    notes = twice_evaluated(files)
    if options.format == "paths":
        odd = next((file for file in files if not str(file.path).isprintable()), None)
        if odd is not None:
            raise UsageError(f"{odd.path!s} is no path that fits on a line; use --format json")
        notes = _unsaid(files) + notes
        print("".join(f"{file.path}\n" for file in files), end="")
    else:
        print(json.dumps([asdict(file) for file in files], indent=1, default=str))
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    return 0


def _unsaid(files: list[LiveFile]) -> list[str]:
    """What paths alone do not say: rows that a later attempt has replaced, files that were not read."""
    partly = {(file.run, file.attempt): file.last_step for file in files if file.partly}
    lines = [
        f"{run}: of attempt {attempt} only rows up to step {last} count, and some files hold later ones"
        for (run, attempt), last in partly.items()
    ]
    unread = sum(not file.verified for file in files)
    return lines + ([f"{unread} of {len(files)} files were not compared with a checksum (--verify)"] if unread else [])
