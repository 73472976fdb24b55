"""`simko query`: SQL over the logs of a run or a folder of runs, typed or by name.

    simko query "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all'" --runs runs/ --format csv
    simko query top-forking-tokens --set limit=50        a query that comes with simko; --list lists them
    simko query lambda-by-verdict --watch 5              asked again every five seconds

The views are those of `docs/schema.md`. The answer goes to stdout (or `--output`), warnings about unreadable files to
stderr; a mistake is one line on stderr and exit code 2.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ..store.errors import QueryFailed, UsageError
from ..store.reading.catalog import Catalog
from ..store.reading.named_queries import named_queries, named_query
from ..store.reading.sampled_rows import reads_token_rows, sampled_runs
from ..store.reading.views import VIEWS
from .answers import BINARY, FORMATS, printable, table, write, write_stream
from .parser import Parser

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+|[a-z]+")
_BATCH = 100_000
"""Rows in memory at a time."""


class _Unreadable(QueryFailed):
    """A file of a run cannot be read."""


def _parser() -> Parser:
    parser = Parser(prog="simko query", description="Ask the logs of one run or a folder of runs.")
    about = "a query's name, one SELECT over the views ({}), a .sql file, or - for standard input"
    parser.add_argument("sql", nargs="?", help=about.format(", ".join(VIEWS)))
    parser.add_argument(
        "--runs",
        action="append",
        metavar="FOLDER",
        help="a run or a folder of runs; may be repeated (default: $SIMKO_RUNS, else runs)",
    )
    parser.add_argument("--list", action="store_true", help="the queries that come with simko, a line each")
    parser.add_argument("--show", action="store_true", help="print the query's SQL instead of asking it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the query, $NAME in its SQL"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how the answer is written (default: table)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file instead of stdout")
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="ask again and again; a pipe gets each answer that differs"
    )
    return parser


def query_main(argv: list[str]) -> int:
    """Run the sub-command; returns the exit code.

    Raises:
        UsageError, QueryFailed: an option or the SQL is wrong.
        RunNotFound: a folder does not exist.
    """
    options = _parser().parse_args(argv)
    if options.list:
        width = max(len(name) for name in named_queries())
        print("\n".join(f"{name:<{width}}  {query.description}" for name, query in named_queries().items()))
        return 0
    if options.sql is None:
        raise UsageError("the following arguments are required: sql; see `simko query --help`")
    sql, parameters = _question(options.sql, options.set)
    if options.show:
        print(sql.rstrip())
        return 0
    if options.format in BINARY and options.output is None and sys.stdout.isatty():
        raise UsageError(f"{options.format} is not for a terminal; add --output FILE or pipe it on")
    folders = options.runs or [os.environ.get("SIMKO_RUNS", "runs")]
    if options.watch is None:
        whole = options.output is not None
        _ask(folders, sql, parameters, lambda answer: write(answer, options.format, options.output), again=whole)
        return 0
    if options.watch <= 0 or options.format in BINARY or options.output is not None:
        raise UsageError("--watch takes seconds above 0, and shows a table, csv or json on stdout")
    _watch(folders, sql, parameters, options.format, options.watch)
    return 0


def _question(text: str, settings: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The SQL meant, and its parameters."""
    given: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write NAME=VALUE")
        given[name] = value
    if _NAME.fullmatch(text):
        query = named_query(text)
        return query.sql, query.parameters(given)
    if text == "-":
        text = sys.stdin.read()
    elif text.endswith(".sql") and not re.search(r"\s", text):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {text}: {getattr(error, 'strerror', None) or error}") from error
    return text, {name: _value(value) for name, value in given.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _ask(
    folders: Sequence[str],
    sql: str,
    parameters: Mapping[str, Any],
    take: Callable[[pa.RecordBatchReader], None],
    *,
    again: bool = True,
) -> None:
    """Ask and hand the answer on.

    Asked a second time, without what is damaged, where a file cannot be read or has gone since the question began;
    `again` is whether `take` can be called twice. What fails before the first rows are there is asked again anyway.
    """
    catalog, noted = Catalog(folders), set[str]()
    for last in (False, True):
        taken = False
        try:
            notes = _notes(catalog, sql)
            answer = _run(catalog.connection, sql, parameters)
            for note in dict.fromkeys(notes):
                if note not in noted:
                    print(f"simko query: {printable(note)}", file=sys.stderr)
            noted.update(notes)
            taken = True
            take(answer)
            return
        except _Unreadable as error:
            if last:
                raise
            if taken and not again:
                raise QueryFailed(
                    f"{error}; the answer is cut short: with --output it leaves out what is damaged"
                ) from error
            catalog = Catalog(folders)
            catalog.leave_out_damaged()


def _notes(catalog: Catalog, sql: str) -> list[str]:
    """What an answer may lack."""
    notes = [f"warning: {problem}" for problem in catalog.problems]
    if reads_token_rows(sql):
        kept = sampled_runs(catalog.connection).items()
        notes += [f"note: {run} holds {rows}; roll-ups count every token" for run, rows in kept]
    if not catalog.runs:
        notes.append("no runs there yet; `simko-train --probe` makes one")
    return notes


def _run(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> pa.RecordBatchReader:
    """The answer, its first rows read.

    Raises:
        QueryFailed: the SQL is wrong.
        _Unreadable: the question is right, a file is not; also by the reader, later.
    """
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryFailed(f"give one statement, not {len(statements)}; the views are {', '.join(VIEWS)}")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise QueryFailed("only SELECT answers questions here; open the files with duckdb for anything else")
        with _reading():
            reader = connection.sql(sql, params=dict(parameters) or None).to_arrow_reader(_BATCH)
    except duckdb.Error as error:
        raise QueryFailed(_explain(error)) from error
    batches = _batches(reader)
    first = next(batches, None)
    return pa.RecordBatchReader.from_batches(reader.schema, chain([] if first is None else [first], batches))


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    while True:
        with _reading():
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
        yield batch


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Errors of DuckDB, which come through Arrow as its own or as OSError, told apart: of the question or of a file.

    Raises:
        QueryFailed, _Unreadable: in their place.
    """
    try:
        yield
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        if type(error) in (duckdb.Error, duckdb.IOException) or ".parquet" in text:
            raise _Unreadable(text) from error
        raise QueryFailed(_explain(error) if isinstance(error, duckdb.Error) else text) from error


def _watch(folders: Sequence[str], sql: str, parameters: Mapping[str, Any], form: str, seconds: float) -> None:
    if sys.stdout.isatty() and form == "table":
        from rich.live import Live

        with Live(auto_refresh=False, screen=True, vertical_overflow="crop") as live:
            while True:
                _ask(folders, sql, parameters, lambda answer: live.update(table(answer), refresh=True))
                time.sleep(seconds)
    shown = None
    while True:
        text = _text(folders, sql, parameters, form)
        if text != shown:
            sys.stdout.write(text)
            sys.stdout.flush()
        shown = text
        time.sleep(seconds)


def _text(folders: Sequence[str], sql: str, parameters: Mapping[str, Any], form: str) -> str:
    buffer = io.StringIO()
    _ask(folders, sql, parameters, lambda answer: write_stream(answer, form, buffer))
    return buffer.getvalue()


def _explain(error: duckdb.Error) -> str:
    """DuckDB's message in one line, with the nearest name where one is unknown."""
    text = str(error)
    first = re.sub(r"\s+", " ", text.split("\n\n")[0].split("\nLINE")[0]).strip()
    unknown = re.search(r"Table with name (\w+) does not exist", text)
    if unknown:
        near = difflib.get_close_matches(unknown[1], VIEWS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the views are {', '.join(VIEWS)}"
        return f"there is no view {unknown[1]}; {hint}"
    missing = re.search(r"Values were not provided for the following .*parameters: (\w+)", text)
    if missing:
        return f"the SQL has a parameter ${missing[1]}; give it with --set {missing[1]}=VALUE"
    return first if "column" in first.lower() else f"{first}; the views are {', '.join(VIEWS)}"
