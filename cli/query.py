"""`simko query`: SQL over the logs of a run or a folder of runs.

    simko query "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all'" --runs runs/ --format csv

The views are those of `docs/schema.md`. The answer goes to stdout (or `--output`), warnings about unreadable files to
stderr; a mistake is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import duckdb

from ..store.catalog import VIEWS, Catalog
from ..store.errors import QueryFailed

FORMATS = ("table", "csv", "json", "parquet")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise QueryFailed(f"{message}; see `simko query --help`")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="simko query", description="Run SQL on the logs of one run or a folder of runs.")
    parser.add_argument("sql", help="one SELECT over the views: " + ", ".join(VIEWS))
    parser.add_argument(
        "--runs",
        action="append",
        metavar="FOLDER",
        help="a run or a folder of runs; may be repeated (default: $SIMKO_RUNS, else runs)",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how the answer is written (default: table)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file instead of stdout")
    return parser


def query_main(argv: list[str]) -> int:
    """Run the sub-command; returns the exit code.

    Raises:
        QueryFailed: an option or the SQL is wrong.
        RunNotFound: a folder does not exist.
    """
    options = _parser().parse_args(argv)
    catalog = Catalog(options.runs or [os.environ.get("SIMKO_RUNS", "runs")])
    for problem in catalog.problems:
        print(f"simko query: warning: {problem}", file=sys.stderr)
    if not catalog.runs:
        print("simko query: no runs there yet; `simko-train --probe` makes one", file=sys.stderr)
    answer = _run(catalog.connection, options.sql)
    if options.format == "parquet" and options.output is None and sys.stdout.isatty():
        raise QueryFailed("Parquet is not for a terminal; add --output FILE or pipe it on")
    try:
        _write(answer, options.format, options.output)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise QueryFailed(f"cannot write {options.output or 'the answer'}: {error.strerror}") from error
    return 0


def _run(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The answer as an Arrow table."""
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryFailed(f"give one statement, not {len(statements)}; the views are {', '.join(VIEWS)}")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise QueryFailed(
                "only SELECT answers questions here; open the Parquet files with duckdb for anything else"
            )
        return connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise QueryFailed(_explain(error)) from error


def _explain(error: duckdb.Error) -> str:
    """DuckDB's message in one line, with the nearest name where one is unknown."""
    text = str(error)
    first = re.sub(r"\s+", " ", text.split("\n\n")[0].split("\nLINE")[0]).strip()
    unknown = re.search(r"Table with name (\w+) does not exist", text)
    if unknown:
        near = difflib.get_close_matches(unknown[1], VIEWS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the views are {', '.join(VIEWS)}"
        return f"there is no view {unknown[1]}; {hint}"
    return first if "column" in first.lower() else f"{first}; the views are {', '.join(VIEWS)}"


def _write(answer: Any, form: str, output: Path | None) -> None:
    if form == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(answer, output if output is not None else sys.stdout.buffer)
        return
    text = {"csv": _csv, "json": _json, "table": _table}[form](answer)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def _csv(answer: Any) -> str:
    csv: str = answer.to_pandas(types_mapper=_keep_integers).to_csv(index=False)
    return csv


def _json(answer: Any) -> str:
    import json

    return json.dumps(answer.to_pylist(), ensure_ascii=False, default=str, indent=1) + "\n"


def _keep_integers(arrow_type: Any) -> Any:
    """Integers with NULLs stay integers in CSV."""
    import pandas as pd
    import pyarrow as pa

    return pd.Int64Dtype() if pa.types.is_integer(arrow_type) else None


def _table(answer: Any) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    columns = answer.to_pydict()
    for field in answer.schema:
        numeric = str(field.type).startswith(("int", "uint", "float", "double", "decimal"))
        table.add_column(field.name, justify="right" if numeric else "left", no_wrap=numeric)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(_cell(value)) for value in row))
    # A pipe has no width: cells are then never cut.
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
