"""Writes a run while it trains: a bounded queue, one thread, whole Parquet files, one manifest line each.

    training thread: put(batch) … end_step(step)       recorder's thread: rows, roll-ups → part-*.parquet → manifest

A file holds whole steps. Files are written when a step ends and `flush_seconds` have passed, or `flush_rows` rows or
half of `queue_depth` batches are waiting for it, on `flush()` and on `close()`; evaluations at once. The other half may
wait in the queue, so a kill loses `queue_depth` batches and the step that is open, at most. A full queue either blocks
the caller or drops the batch and counts it, as `when_full` says; all else is small and never waits. After a failed
write (disk full, folder gone) `error` is set, one warning is given, and what was not yet written and what comes later
is counted as dropped: nothing here raises into training, and what was written stays readable.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from ..layout.run import now
from ..layout.schema import TABLES, TableName
from .batch import Shift, TokenBatch
from .cost import RecorderCost, StepCosts
from .manifest_writer import ManifestWriter
from .parquet import rows_table, token_table
from .part_files import PartFiles
from .rollup import Rollup
from .row_sampling import LoggedRows

TokenSource = TokenBatch | Callable[[], TokenBatch]
_SIGN_SECONDS = 10.0
"""A sign of life comes this often, whether there is something to write or not."""
_COST_SECONDS = 10.0
"""Costs are small and in no hurry: their files come this far apart at least."""


class _Job(NamedTuple):
    """A call to make on the recorder's thread."""

    call: Callable[[], None]
    batches: int = 0
    """Micro-batches it carries: what is lost when it is dropped."""
    always: bool = False
    """Whether it is called even after a failed write."""
    last: bool = False
    """Whether the thread ends with it."""


class Recorder:
    """The writer of one process (rank) of one attempt of a run.

    Args:
        run_dir: the run's folder, made by `create_or_resume`.
        k: ranked candidates a token row holds.
        attempt: which start of the run this is, the same on every rank.
        start_step: optimizer steps done before it.
        rank, world_size: this process among those that write the run.
        config: the attempt's options, kept in its manifest.
        meaning: what its figures mean: the entries `probe` and `smoothing` of `layout/meaning`.
        queue_depth: batches of ended steps that may be in memory: half of them in the queue, half for the next file.
        when_full: `block` the caller, or `drop` the batch and count it.
        flush_seconds, flush_rows: when a step's end writes files.
        rows: which token rows are written, and how exactly; None: all of them.

    Raises:
        RunBusy: another process is writing this rank of the run.
        RunUnwritable: the folder cannot be written.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        k: int,
        attempt: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        config: Mapping[str, Any] | None = None,
        meaning: Mapping[str, Any] | None = None,
        queue_depth: int = 64,
        when_full: Literal["block", "drop"] = "block",
        flush_seconds: float = 2.0,
        flush_rows: int = 200_000,
        rows: LoggedRows | None = None,
    ) -> None:
        self.run_dir, self.k, self.attempt, self.rank = Path(run_dir), k, attempt, rank
        self.error: Exception | None = None
        self.cost = RecorderCost()
        self._when_full, self._flush_seconds, self._flush_rows = when_full, flush_seconds, flush_rows
        # Unbounded but for batches: a step's end must not wait where batches may be dropped, nor `close` ever.
        self._queue: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._room = threading.Semaphore(queue_depth - queue_depth // 2)
        self._flush_batches = max(1, queue_depth // 2)
        self._pid = os.getpid()
        self._open, self._closed = True, False
        self._flushed = time.monotonic()
        self._rows = rows or LoggedRows()
        self._rollup = Rollup(k)
        self._pending: dict[TableName, list[pa.Table]] = {table: [] for table in TABLES}
        self._step_costs = StepCosts(self.cost)
        self._costs_written = self._flushed
        self._rows_waiting = self._batches_waiting = 0
        about = {"world_size": world_size, "start_step": start_step, "k": k, "config": dict(config or {})}
        self._manifest = ManifestWriter(self.run_dir, attempt, rank, about | dict(meaning or {}))
        self._files = PartFiles(self.run_dir, attempt, rank, self._manifest, self.cost)
        self._thread = threading.Thread(target=self._work, name=f"simko-recorder-{rank}", daemon=True)
        self._thread.start()
        atexit.register(self.close, "interrupted")

    # Called by training

    def put(self, batch: TokenSource) -> None:
        """Take a scored micro-batch; a callable is called on the recorder's thread, where it may wait for a copy."""
        if not self._open:
            self.cost.dropped += 1
            return
        began = time.perf_counter()
        if self._room.acquire(blocking=self._when_full == "block"):
            self._queue.put(_Job(lambda: self._take_batch(batch), batches=1))
            self.cost.queue_wait_ms += 1e3 * (time.perf_counter() - began)
        else:
            self.cost.dropped += 1

    def put_shift(self, shift: Shift | Callable[[], Shift]) -> None:
        """Take what scoring a micro-batch of the open step again has shown; it goes into the step's roll-up."""
        self._enqueue(_Job(lambda: self._rollup.add_shift(shift if isinstance(shift, Shift) else shift())))

    def put_responses(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take rows of `responses`: its columns without attempt and worker.

        Raises:
            ValueError: a column is unknown or has another length.
        """
        table = self._table("responses", columns)
        self._enqueue(_Job(lambda: self._pending["responses"].append(table)))

    def put_evals(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take rows of `evals` and write them at once; otherwise as `put_responses`."""
        table = self._table("evals", columns)
        self._enqueue(_Job(lambda: self._files.write({"evals": [table]})))

    def end_step(
        self, step: int, capture_ms: float | None = None, device_ms: Callable[[], float] | None = None
    ) -> None:
        """Close the roll-up of an optimizer step.

        Args:
            step: its number.
            capture_ms: what the caller spent on logging it.
            device_ms: gives the same of the caller's device; called on the recorder's thread, where it may wait.
        """
        cost = self._step_costs.end(step, capture_ms, device_ms)
        self._enqueue(_Job(lambda: self._end_step(step, cost)))

    def flush(self) -> None:
        """Write everything taken so far and wait until it is on disk."""
        if not self._open:
            return
        done = threading.Event()
        self._enqueue(_Job(self._flush))
        self._enqueue(_Job(done.set, always=True))
        done.wait()

    def close(self, status: str = "finished") -> None:
        """Write the rest and end the manifest with `status`; later calls do nothing.

        The status is finished, interrupted, diverged or failed. Cut short by a second Ctrl-C, it can be called again,
        and is when the interpreter exits.
        """
        if self._closed or os.getpid() != self._pid:  # a forked child has no thread to wait for
            return
        if self._open:
            self._enqueue(_Job(self._flush))
            self._enqueue(_Job(lambda: self._end(status), always=True, last=True))
            self._open = False
        self._thread.join()
        self._closed = True
        atexit.unregister(self.close)
        self._manifest.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close("finished" if kind is None else "failed")

    def _enqueue(self, job: _Job) -> None:
        if self._open:
            self._queue.put(job)

    # The recorder's thread

    def _work(self) -> None:
        last, signed = False, time.monotonic()
        while not last:
            try:
                job = self._queue.get(timeout=_SIGN_SECONDS)
            except queue.Empty:
                self._manifest.alive()
                continue
            if time.monotonic() - signed >= _SIGN_SECONDS:
                self._manifest.alive()
                signed = time.monotonic()
            last = job.last
            if job.batches:
                self._room.release()
            if self.error is not None and not job.always:
                self.cost.dropped += job.batches
                continue
            try:
                job.call()
            except BaseException as error:  # this thread has to live: others wait for it
                if self.error is None:
                    self._fail(error, job.batches)

    def _fail(self, error: BaseException, batches: int) -> None:
        self.error = error if isinstance(error, Exception) else RuntimeError(repr(error))
        if not isinstance(error, OSError):  # a batch was at fault, not the disk: what waits can still be written
            with contextlib.suppress(Exception):
                self._flush()
        self.cost.dropped += self._batches_waiting + batches
        self._batches_waiting = 0
        self._pending = {table: [] for table in self._pending}
        message = f"cannot log to {self.run_dir} any more ({error}); training goes on, what was written stays readable"
        with contextlib.suppress(Warning):  # where warnings are errors
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        with contextlib.suppress(OSError):
            self._manifest.lines([{"kind": "cost", "dropped": self.cost.dropped, "error": str(error)}])

    def _take_batch(self, source: TokenSource) -> None:
        batch = source if isinstance(source, TokenBatch) else source()
        table = token_table(batch, k=self.k, attempt=self.attempt, worker=self.rank, rows=self._rows)
        if batch.responses is not None:
            self._pending["responses"].append(self._table("responses", batch.responses))
        self._rollup.add(batch)
        self._pending["tokens"].append(table)
        self._rows_waiting += table.num_rows
        self._batches_waiting += 1

    def _end_step(self, step: int, cost: dict[str, Any]) -> None:
        rows = self._rollup.rows(step)
        self._rollup = Rollup(self.k)
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
        self._pending["rollups"].append(self._table("rollups", columns))
        cost = {name: [value] for name, value in self._step_costs.written(cost).items()}
        self._pending["costs"].append(self._table("costs", cost))
        due = time.monotonic() - self._flushed >= self._flush_seconds
        full = self._rows_waiting >= self._flush_rows or self._batches_waiting >= self._flush_batches
        if due or full:
            self._flush_steps()

    def _flush(self) -> None:
        self._flush_steps()
        self._write_costs()

    def _flush_steps(self) -> None:
        self._write_waiting("responses", "tokens", "rollups")
        self._rows_waiting = self._batches_waiting = 0
        self._flushed = time.monotonic()
        if self._flushed - self._costs_written >= _COST_SECONDS:
            self._write_costs()

    def _write_costs(self) -> None:
        self._write_waiting("costs")
        self._costs_written = time.monotonic()

    def _write_waiting(self, *tables: TableName) -> None:
        waiting = {table: self._pending[table] for table in tables}
        self._pending |= {table: [] for table in tables}
        self._files.write(waiting)

    def _end(self, status: str) -> None:
        if self.cost.dropped:
            self._manifest.lines([{"kind": "cost", "dropped": self.cost.dropped, "error": None}])
        self._manifest.lines([{"kind": "end", "status": status, "ended": now()}])

    def _table(self, table: TableName, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        return rows_table(table, columns, k=self.k, attempt=self.attempt, worker=self.rank)
