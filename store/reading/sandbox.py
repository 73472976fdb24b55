"""Untrusted SQL over untrusted runs: a connection that can read the runs and do nothing else.

    answer = ask("runs", "SELECT step, k, lambda_k FROM lambda_k", seconds=10, rows=1000)

pyarrow opens the files before DuckDB sees the query. DuckDB's own access to files, network and extensions is off and
its configuration is locked, so no SQL can undo that. (`allowed_directories` would not do: it allows writing inside
them, and a SELECT can hold a COPY.) The base relations cannot be written, because a SELECT can hold a DELETE too. `ask`
runs the query in a process of its own. That process has a memory limit, cannot write files, and is killed when its
time is over, because some SQL functions cannot be interrupted. A crash ends that process alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem

from ..errors import QueryFailed, SimkoError
from ..layout.schema import TABLES, TableName, arrow_schema
from ..posix import resource
from .loaded_runs import TEXTS, Run, largest_k, load_runs, small_tables, vocabularies
from .views import define_views

_SETTINGS = {
    "threads": "1",
    "memory_limit": "'1GB'",
    "temp_directory": "''",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "enable_progress_bar": "false",
}
_START_SECONDS = 10.0
_MEMORY = 4 << 30
_REFUSED = 3
_LOCK = "SET enable_external_access = false; SET lock_configuration = true"


@dataclass(frozen=True)
class Answer:
    """The first rows of an answer, whether there were more, how long it took, and which files could not be read."""

    rows: pd.DataFrame
    cut: bool
    seconds: float
    problems: tuple[str, ...] = ()


def ask(
    folder: Path, sql: str, *, parameters: Mapping[str, Any] | None = None, seconds: float = 10.0, rows: int = 1000
) -> Answer:
    """The first `rows` rows of one SELECT's answer, worked out in a process of its own.

    Raises:
        QueryFailed: it is no single SELECT, or cannot be answered, or not in the time or memory there is.
    """
    question = {"folder": str(folder), "sql": sql, "parameters": dict(parameters or {})}
    limits = {"seconds": seconds, "rows": rows}
    command = [sys.executable, "-m", "simko.store.reading.sandbox"]
    try:
        done = subprocess.run(
            command, input=json.dumps(question | limits).encode(), capture_output=True, timeout=seconds + _START_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise QueryFailed(f"stopped after {seconds:g} s; ask for less, or use `simko query`") from error
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == _REFUSED:
        raise QueryFailed(lines[-1] if lines else "it cannot be answered")
    if done.returncode:
        raise QueryFailed("the query ended its process, most likely because it ran out of memory; ask for less")
    about = json.loads(lines[-1])
    with pa.ipc.open_stream(done.stdout) as stream:
        return Answer(stream.read_pandas(), about["cut"], about["seconds"], tuple(about["problems"]))


def _answer_process() -> int:
    """What the process of `ask` does: a question from stdin, its rows to stdout, the rest to stderr."""
    question = json.load(sys.stdin)
    try:
        runs = LockedRuns(question["folder"])
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        answer = runs.ask(
            question["sql"], parameters=question["parameters"], seconds=question["seconds"], rows=question["rows"]
        )
    except SimkoError as error:
        print(error, file=sys.stderr)
        return _REFUSED
    table = pa.Table.from_pandas(answer.rows, preserve_index=False)
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)
    about = {"cut": answer.cut, "seconds": answer.seconds, "problems": runs.problems}
    print(json.dumps(about), file=sys.stderr)
    return 0


class LockedRuns:
    """The runs of a folder behind a locked connection.

    Attributes:
        problems: one line each about what could not be read.

    Raises:
        RunNotFound: the folder does not exist.
    """

    def __init__(self, folder: str | Path | Sequence[str | Path]) -> None:
        runs, self.problems = load_runs(folder)
        self._connection = duckdb.connect(":memory:")
        for name, value in _SETTINGS.items():
            self._connection.execute(f"SET {name} = {value}")
        k = largest_k(runs)
        for name, table in small_tables(runs).items():
            self._connection.register(name, table)
        for table_name in TABLES:
            self._register(runs, table_name, k)
        self._register_texts(runs)
        define_views(self._connection, k)
        self._connection.execute(_LOCK)
        self._asking = threading.Lock()

    def ask(
        self, sql: str, *, parameters: Mapping[str, Any] | None = None, seconds: float = 10.0, rows: int = 1000
    ) -> Answer:
        """The first `rows` rows of one SELECT's answer.

        Raises:
            QueryFailed: it is no single SELECT, or cannot be answered, or not in the time or memory there is.
        """
        with self._asking:
            began = time.monotonic()
            timer = threading.Timer(seconds, self._connection.interrupt)
            timer.start()
            try:
                frame = self._first_rows(sql, dict(parameters or {}) or None, rows + 1)
            except duckdb.InterruptException as error:
                raise QueryFailed(f"stopped after {seconds:g} s; ask for less, or use `simko query`") from error
            except duckdb.OutOfMemoryException as error:
                raise QueryFailed("it needs more than the 1 GB a question may take; ask for less") from error
            except (duckdb.Error, pa.ArrowException, OSError, RuntimeError, UnicodeError) as error:
                raise QueryFailed(_one_line(error)) from error
            finally:
                timer.cancel()
                timer.join()
            return Answer(frame.iloc[:rows], len(frame) > rows, time.monotonic() - began)

    def _first_rows(self, sql: str, parameters: dict[str, Any] | None, rows: int) -> pd.DataFrame:
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryFailed(f"give one statement, not {len(statements)}")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise QueryFailed("only SELECT answers questions here")
        reader = self._connection.sql(sql, params=parameters).to_arrow_reader(rows)
        batches, result = [], 0
        for batch in reader:
            batches.append(batch.slice(0, rows - result))
            result += batches[-1].num_rows
            if result >= rows:
                break
        frame: pd.DataFrame = pa.Table.from_batches(batches, reader.schema).to_pandas()
        return frame

    def _register(self, runs: Sequence[Run], table: TableName, k: int) -> None:
        """`all_<table>` over one pyarrow dataset of all runs' files; columns a file lacks are NULL.

        Each file knows its run, so that a filter on `run` opens that run's files alone.
        """
        schema = pa.schema([("run", pa.string()), *arrow_schema(table, k)])
        files = [(str(part.path), run.name) for run in runs for part in run.manifest.parts if part.table == table]
        dataset = ds.FileSystemDataset.from_paths(
            [path for path, _ in files],
            schema=schema,
            format=ds.ParquetFileFormat(),
            filesystem=LocalFileSystem(),
            partitions=[ds.field("run") == run for _, run in files],
            root_partition=ds.scalar(True),
        )
        self._connection.register(f"files_{table}", dataset)
        self._connection.execute(f"CREATE VIEW all_{table} AS SELECT * FROM files_{table}")

    def _register_texts(self, runs: Sequence[Run]) -> None:
        tables = [TEXTS.empty_table()]
        for key, path in vocabularies(runs).items():
            try:
                rows = ds.dataset(str(path), format="parquet").to_table(columns=["token_id", "text"])
                tables.append(rows.add_column(0, "vocabulary", pa.repeat(key, rows.num_rows)).cast(TEXTS))
            except (OSError, pa.ArrowException):
                continue
        self._connection.register("texts", pa.concat_tables(tables))


def _one_line(error: Exception) -> str:
    text = str(error).split("\n\n")[0].split("\nLINE")[0]
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    sys.exit(_answer_process())
