"""A question asked of runs by SQL, once or again and again; mistakes are kept apart from files that cannot be read."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import duckdb
import pyarrow as pa

from ..store.errors import QueryFailed, nearest
from ..store.reading.catalog import Catalog
from ..store.reading.sampled_rows import reads_token_rows, sampled_runs
from ..store.reading.views import VIEWS
from .terminal.answers import table_lines, write_stream
from .terminal.output import INTERRUPTED, printable
from .terminal.tables import terminal_width

_BATCH = 100_000
"""Rows in memory at a time."""
_PATIENCE = 1.0
"""Seconds that DuckDB has to end a query after Ctrl-C."""
_Result = TypeVar("_Result")


class _Unreadable(QueryFailed):
    """A file of a run cannot be read."""


def ask(
    folders: Sequence[Path],
    sql: str,
    parameters: Mapping[str, Any],
    take: Callable[[pa.RecordBatchReader], None],
    *,
    again: bool = True,
) -> None:
    """Ask and hand the answer on.

    Asked a second time, without what is damaged, where a file cannot be read or has gone since the question began;
    `again` is whether `take` can be called twice. What fails before the first rows are there is asked again anyway.

    Raises:
        QueryFailed: the SQL is wrong, or an answer that was begun cannot be finished.
        RunNotFound: a folder does not exist.
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


def watch(folders: Sequence[Path], sql: str, parameters: Mapping[str, Any], form: str, seconds: float) -> NoReturn:
    """Ask until interrupted: a table on a terminal is redrawn, anything else gets each answer that differs.

    Raises:
        QueryFailed, RunNotFound: as `ask`.
    """
    if sys.stdout.isatty() and form == "table":
        from rich.live import Live
        from rich.text import Text

        with Live(auto_refresh=False, screen=True, vertical_overflow="crop") as live:

            def draw(answer: pa.RecordBatchReader) -> None:
                live.update(Text("\n".join(table_lines(answer, terminal_width())), no_wrap=True), refresh=True)

            while True:
                ask(folders, sql, parameters, draw)
                time.sleep(seconds)
    shown = None
    while True:
        text = _text(folders, sql, parameters, form)
        if text != shown:
            sys.stdout.write(text)
            sys.stdout.flush()
        shown = text
        time.sleep(seconds)


def _text(folders: Sequence[Path], sql: str, parameters: Mapping[str, Any], form: str) -> str:
    buffer = io.StringIO()
    ask(folders, sql, parameters, lambda answer: write_stream(answer, form, buffer))
    return buffer.getvalue()


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
        _check_parameters(parameters, statements[0].named_parameters)
        with _reading():
            reader = _interruptible(
                connection, lambda: connection.sql(sql, params=dict(parameters) or None).to_arrow_reader(_BATCH)
            )
    except duckdb.Error as error:
        raise QueryFailed(_explain(error)) from error
    batches = _batches(connection, reader)
    first = next(batches, None)
    return pa.RecordBatchReader.from_batches(reader.schema, chain([] if first is None else [first], batches))


def _check_parameters(given: Mapping[str, Any], known: set[str]) -> None:
    for name in given:
        if name not in known:
            listed = ", ".join(f"${parameter}" for parameter in sorted(known)) or "none"
            raise QueryFailed(f"--set {name}: the SQL has no parameter ${name}; it has: {listed}")


def _batches(connection: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    while True:
        with _reading():
            try:
                batch = _interruptible(connection, reader.read_next_batch)
            except StopIteration:
                return
        yield batch


def _interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], _Result]) -> _Result:
    """The result of a call into DuckDB, made on a thread of its own: Python sees Ctrl-C only between its own steps."""
    results: list[_Result] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again below
            errors.append(error)
        done.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        done.wait()
    except KeyboardInterrupt:
        connection.interrupt()
        if not done.wait(_PATIENCE):
            os._exit(INTERRUPTED)  # an ordinary exit would tear the library down under the thread
        raise
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Errors of DuckDB, which come through Arrow as its own or as OSError, kept apart: of the question or of a file.

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


def _explain(error: duckdb.Error) -> str:
    """DuckDB's message in one line, with the nearest name where one is unknown."""
    text = str(error)
    first = re.sub(r"\s+", " ", text.split("\n\n")[0].split("\nLINE")[0]).strip()
    unknown = re.search(r"Table with name (\w+) does not exist", text)
    if unknown:
        near = nearest(unknown[1], VIEWS)
        hint = f"did you mean {near}?" if near else f"the views are {', '.join(VIEWS)}"
        return f"there is no view {unknown[1]}; {hint}"
    missing = re.search(r"Values were not provided for the following .*parameters: (\w+)", text)
    if missing:
        return f"the SQL has a parameter ${missing[1]}; give it with --set {missing[1]}=VALUE"
    return first if "column" in first.lower() else f"{first}; the views are {', '.join(VIEWS)}"
