"""Untrusted SQL over untrusted runs: a connection that can read the runs and do nothing else.

    answer = ask("runs", "SELECT step, k, lambda_k FROM lambda_k", seconds=10, rows=1000)

pyarrow opens the files before DuckDB sees the query. DuckDB's own access to files, network and extensions is off and
its configuration is locked, so no SQL can undo that. (`allowed_directories` would not do: it allows writing inside
them, and a SELECT can hold a COPY.) The base relations cannot be written, because a SELECT can hold a DELETE too. `ask`
runs the query in a process of its own. That process has a memory limit and cannot write files, and the system ends it
when its time is over, because many SQL functions cannot be interrupted; its time begins when the runs are open. What it
hands back is bounded in rows and in bytes, so that no answer fills the memory of whoever asks. A crash ends that
process alone.
"""

from __future__ import annotations

import json
import re
import signal
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
from .answer_size import rows_that_fit, size_in_bytes
from .loaded_runs import TEXTS, Run, largest_k, load_runs, small_tables, vocabularies
from .views import define_views

# pyarrow tells DuckDB no row counts. It takes the tokens for few, and would keep them all in memory to look up in them
# the few rows they are joined with. Without this optimizer it keeps what stands on the right: in the views, few rows.
_SETTINGS = {
    "disabled_optimizers": "'build_side_probe_side'",
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
_GRACE_SECONDS = 2.0
"""How long after its time a question that ignores an interruption is ended by force."""
_MEMORY = 4 << 30
_ANSWER_BYTES = 16_000_000
_MESSAGE = 1000
"""Characters of an error that are told: DuckDB quotes the values it stumbles over, however long."""
_REFUSED = 3
_READY = "ready"
_LOCK = "SET enable_external_access = false; SET lock_configuration = true"


@dataclass(frozen=True)
class Answer:
    """The first rows of an answer.

    Attributes:
        rows: at most as many as were asked for, and as fit in 16 MB.
        cut: whether there were more.
        seconds: how long the question took, without the opening of the runs.
        full: whether it was cut because the next row would not have fitted in 16 MB.
        problems: one line each about what could not be read.
    """

    rows: pd.DataFrame
    cut: bool
    seconds: float
    full: bool = False
    problems: tuple[str, ...] = ()


def ask(
    folder: Path,
    sql: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    seconds: float = 10.0,
    rows: int = 1000,
    opening: float = 30.0,
) -> Answer:
    """The first `rows` rows of one SELECT's answer, worked out in a process of its own.

    Args:
        folder: a run or a folder of runs.
        sql: the question.
        parameters: its `$name` → value.
        seconds: for the question alone, which begins when the runs are open.
        rows: of the answer at most; it is also cut at 16 MB.
        opening: seconds for what comes before: loading Python and opening the runs.

    Raises:
        QueryFailed: it is no single SELECT, or cannot be answered, or not in the time or memory there is.
    """
    question = {"folder": str(folder), "sql": sql, "parameters": dict(parameters or {})}
    limits = {"seconds": seconds, "rows": rows, "open_by": _now() + opening}
    command = [sys.executable, "-m", "simko.store.reading.sandbox"]
    longest = opening + seconds + 2 * _GRACE_SECONDS  # its own clock ends it before
    try:
        done = subprocess.run(
            command, input=json.dumps(question | limits).encode(), capture_output=True, timeout=longest
        )
    except subprocess.TimeoutExpired as error:
        raise _out_of_time(error.stderr, seconds, opening) from error
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == -signal.SIGALRM:
        raise _out_of_time(done.stderr, seconds, opening)
    if done.returncode == _REFUSED:
        raise QueryFailed(lines[-1] if lines else "it cannot be answered")
    if done.returncode:
        raise QueryFailed("the query ended its process, most likely because it ran out of memory; ask for less")
    about = json.loads(lines[-1])
    with pa.ipc.open_stream(done.stdout) as stream:
        return Answer(stream.read_pandas(), about["cut"], about["seconds"], about["full"], tuple(about["problems"]))


def _now() -> float:
    """Seconds on a clock that all processes share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _out_of_time(said: bytes | None, seconds: float, opening: float) -> QueryFailed:
    if _READY.encode() in (said or b"").splitlines():
        return _stopped(seconds)
    return QueryFailed(
        f"opening the runs took more than {opening:g} s, so nothing was asked; ask of fewer runs, or use `simko query`"
    )


def _stopped(seconds: float) -> QueryFailed:
    return QueryFailed(f"stopped after {seconds:g} s; ask for less, or use `simko query`")


def _end_after(seconds: float) -> None:
    """Let the system end this process in so many seconds, whatever it is in the middle of."""
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))


def _answer_process() -> int:
    """What the process of `ask` does: a question from stdin, its rows to stdout, the rest to stderr."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    question = json.load(sys.stdin)
    _end_after(question["open_by"] - _now())
    try:
        runs = LockedRuns(question["folder"])
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        print(_READY, file=sys.stderr, flush=True)
        _end_after(question["seconds"] + _GRACE_SECONDS)
        table, about = runs.table(
            question["sql"], parameters=question["parameters"], seconds=question["seconds"], rows=question["rows"]
        )
    except SimkoError as error:
        print(error, file=sys.stderr)
        return _REFUSED
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)
    print(json.dumps(about | {"problems": runs.problems}), file=sys.stderr)
    return 0


class LockedRuns:
    """The runs of a folder behind a locked connection.

    Attributes:
        problems: one line each about what could not be read.

    Raises:
        RunNotFound: the folder does not exist.
    """

    def __init__(self, folder: str | Path | Sequence[str | Path]) -> None:
        runs, self.problems = load_runs(folder, follow=False)
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
        table, about = self.table(sql, parameters=parameters, seconds=seconds, rows=rows)
        return Answer(table.to_pandas(), about["cut"], about["seconds"], about["full"], tuple(self.problems))

    def table(
        self, sql: str, *, parameters: Mapping[str, Any] | None, seconds: float, rows: int
    ) -> tuple[pa.Table, dict[str, Any]]:
        """As `ask`, but as an Arrow table that pandas can take, and `cut`, `seconds` and `full` of its `Answer`."""
        with self._asking:
            began = time.monotonic()
            timer = threading.Timer(seconds, self._connection.interrupt)
            timer.start()
            try:
                table, cut, full = self._first_rows(sql, dict(parameters or {}) or None, rows)
                table.to_pandas()  # whoever asks does the same
            except (duckdb.Error, pa.ArrowException, MemoryError, OSError, RuntimeError, ValueError) as error:
                raise _told(error, seconds) from error
            finally:
                timer.cancel()
                timer.join()
            return table, {"cut": cut, "full": full, "seconds": time.monotonic() - began}

    def _first_rows(self, sql: str, parameters: dict[str, Any] | None, rows: int) -> tuple[pa.Table, bool, bool]:
        """The rows, whether there are more, and whether that is because of their bytes."""
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryFailed(f"give one statement, not {len(statements)}")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise QueryFailed("only SELECT answers questions here")
        reader = self._connection.sql(sql, params=parameters).to_arrow_reader(rows + 1)
        room = _ANSWER_BYTES - reader.schema.serialize().size
        batches, kept = [], 0
        for batch in reader:
            fit = rows_that_fit(batch, room)
            batches.append(batch.slice(0, min(fit, rows - kept)))
            kept += batches[-1].num_rows
            room -= size_in_bytes(batches[-1])
            if fit < batch.num_rows or kept == rows:
                break
        else:
            return pa.Table.from_batches(batches, reader.schema), False, False
        if not kept and rows:
            raise QueryFailed("one row of the answer takes more than the 16 MB an answer may take; ask for less")
        more = fit < batch.num_rows or batches[-1].num_rows < batch.num_rows or any(b.num_rows for b in reader)
        return pa.Table.from_batches(batches, reader.schema), more, kept < rows

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


def _told(error: BaseException, seconds: float) -> QueryFailed:
    """A failure as people are told it. Arrow passes DuckDB's on as errors of its own."""
    text = re.split(r"\n\n|\nLINE", str(error)[: 4 * _MESSAGE])[0]
    line = re.sub(r"\s+", " ", text).strip()
    if isinstance(error, duckdb.InterruptException) or "INTERRUPT Error" in line:
        return _stopped(seconds)
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)) or "Out of Memory Error" in line:
        return QueryFailed("it needs more than the 1 GB a question may take; ask for less")
    return QueryFailed(line if len(line) <= _MESSAGE else f"{line[:_MESSAGE]} …" if line else type(error).__name__)


if __name__ == "__main__":
    sys.exit(_answer_process())
