"""Merging the small files of a run into large ones, while it is written and while it is read.

    simko compact runs/first

Files of one table and one writer (a process of an attempt, or an evaluation) are put one after the other into files of
up to `FILE_ROWS` rows, in row groups of `ROW_GROUP`. A file that is not what was written is named and left as it is,
with those it would be merged with. No row is dropped and their order is kept, so every query gives the same answer. One
line in `manifest/merges.jsonl` makes the change (see `merges`). A kill before that line leaves the parts, a kill after
it the merged file; an unfinished file has a temporary name that no reader opens. The parts stay for at least
`GRACE_SECONDS`, for readers that looked before (`garbage`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import RunBusy
from ..layout.checksums import ChecksumWriter
from ..layout.manifest import read_manifest
from ..layout.manifest_file import Part, altered
from ..layout.run import MANIFEST_FOLDER, now, read_run, unwritable
from ..writing.parquet import ROW_GROUP, finished_file, parquet_options
from .merge_list import MergeList

FILE_ROWS = 4 * ROW_GROUP
"""Rows at which a merged file is large enough."""
_BATCH = 1 << 16


@dataclass
class Compaction:
    """What a compaction did: files before, files made of them, their rows and bytes, lines about what it left alone."""

    replaced: int = 0
    made: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    left: list[str] = field(default_factory=list)


def compact(run_dir: Path) -> Compaction:
    """Merge the small files of a run.

    Raises:
        RunNotFound, SchemaTooNew: about the run.
        RunBusy: it is being compacted by another process.
        RunUnwritable: the folder cannot be written, or the disk is full; the run is as it was.
    """
    run_dir = Path(run_dir)
    read_run(run_dir)
    done = Compaction()
    with locked(run_dir):
        try:
            merges = MergeList(run_dir)
        except OSError as error:
            raise unwritable(run_dir, error) from error
        for group in _groups(read_manifest(run_dir).parts):
            try:
                size = _merge(run_dir, merges, group)
            except pa.ArrowException as error:
                done.left.append(f"{group[0].path} … {group[-1].path.name}: {str(error).splitlines()[0]}; not merged")
                continue
            except OSError as error:
                raise unwritable(run_dir, error) from error
            done.replaced += len(group)
            done.made += 1
            done.rows += sum(part.rows for part in group)
            done.bytes_before += sum(part.bytes for part in group)
            done.bytes_after += size
    return done


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the lock of those who merge and remove files of a run.

    Raises:
        RunBusy: another process holds it.
        RunUnwritable: the folder cannot be written.
    """
    from ..posix import fcntl  # here, so that `simko doctor` does without

    try:
        descriptor = os.open(run_dir / MANIFEST_FOLDER / ".lock-compaction", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise unwritable(run_dir, error) from error
    try:
        with contextlib.suppress(OSError):  # a file system without locks: two at once then do the same work twice
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunBusy(f"{run_dir} is being compacted by another process; wait for it") from error
        yield
    finally:
        os.close(descriptor)


def _groups(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Runs of parts to merge: of one table and writer, in order, up to `FILE_ROWS` rows each."""
    by_writer: dict[tuple[str, int, int, str | None], list[Part]] = {}
    for part in parts:
        by_writer.setdefault((part.table, part.attempt, part.rank, part.evaluation), []).append(part)
    for written in by_writer.values():
        group: list[Part] = []
        rows = 0
        for part in written:
            if group and rows + part.rows > FILE_ROWS:
                if len(group) > 1:
                    yield group
                group, rows = [], 0
            group.append(part)
            rows += part.rows
        if len(group) > 1:
            yield group


def _merge(run_dir: Path, merges: MergeList, parts: Sequence[Part]) -> int:
    """Write one merged file and its line; returns its bytes.

    Raises:
        OSError: it could not be written; nothing has changed.
        pa.ArrowException: a part is not what was written or cannot be read, or they do not fit together; nothing has
            changed.
    """
    first = parts[0]
    folder = run_dir / first.table
    whose = f"evaluation-{first.evaluation}" if first.evaluation else f"{first.attempt:03d}-{first.rank:03d}"
    name = f"merged-{whose}-{merges.lines + 1:06d}.parquet"
    expected = sum(part.rows for part in parts)
    with finished_file(folder / name) as file:
        for part in parts:  # once it is merged, nobody can tell any more
            if problem := altered(part):
                raise pa.ArrowInvalid(problem.rpartition(";")[0])
        rows = _write(file, parts)
        if rows != expected:
            raise pa.ArrowInvalid(f"{rows} rows where the manifest says {expected}")
    line = {
        "kind": "merge",
        "table": first.table,
        "path": f"{first.table}/{name}",
        "attempt": first.attempt,
        "rank": first.rank,
        "evaluation": first.evaluation,
        "steps": [min(part.first_step for part in parts), max(part.last_step for part in parts)],
        "rows": rows,
        "bytes": file.tell(),
        "checksum": file.checksum,
        "replaces": [str(part.path.relative_to(run_dir)) for part in parts],
        "merged": now(),
    }
    try:
        merges.append(line)
    except OSError:
        with contextlib.suppress(OSError):
            (folder / name).unlink()  # nobody has been told of it
        raise
    return file.tell()


def _write(file: ChecksumWriter, parts: Sequence[Part]) -> int:
    """The rows of parts in one file, a row group in memory at a time; returns how many."""
    rows = 0
    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        waiting: list[pa.RecordBatch] = []
        for batch in _batches(parts):
            if writer is None:
                schema = batch.schema
                options = parquet_options(parts[0].table, schema)
                writer = stack.enter_context(pq.ParquetWriter(file, schema, **options))
            waiting.append(batch)
            rows += batch.num_rows
            if sum(each.num_rows for each in waiting) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=ROW_GROUP + _BATCH)
                waiting.clear()
        if writer is not None and waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=ROW_GROUP + _BATCH)
    return rows


def _batches(parts: Sequence[Part]) -> Iterator[pa.RecordBatch]:
    """The rows of parts, in order.

    Raises:
        pa.ArrowException: one of them cannot be read.
    """
    for part in parts:
        try:
            with pq.ParquetFile(part.path) as file:
                yield from file.iter_batches(_BATCH, use_threads=False)
        except OSError as error:
            raise pa.ArrowInvalid(f"{part.path.name}: {error}") from error
