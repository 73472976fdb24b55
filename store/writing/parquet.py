"""One way to write Parquet: zstd-3, large row groups, dictionaries for what repeats, statistics split by bytes.

A file gets a temporary name that does not end in `.parquet`, so that no glob meets it, and is renamed when it is whole
and synced to disk: after a power cut a file that a manifest names is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..layout.checksums import ChecksumWriter
from ..layout.schema import TableName, arrow_schema, dictionary_columns, split_columns
from .batch import TokenBatch
from .row_sampling import LoggedRows

ROW_GROUP = 1 << 18
"""Rows of a row group."""


def write_part(path: Path, table: TableName, data: pa.Table) -> tuple[int, str]:
    """Write a finished file, which a power cut finds whole; returns its size in bytes and its checksum.

    Raises:
        OSError: the file could not be written; nothing is left behind.
    """
    path.parent.mkdir(exist_ok=True)
    with finished_file(path) as file:
        pq.write_table(data, file, row_group_size=ROW_GROUP, **parquet_options(table, data.schema))
    return file.tell(), file.checksum


@contextlib.contextmanager
def finished_file(path: Path) -> Iterator[ChecksumWriter]:
    """A file to write that gets its name when it is whole and on the disk.

    Raises:
        OSError: it could not be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield ChecksumWriter(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parquet_options(table: TableName, schema: pa.Schema) -> dict[str, Any]:
    """How the columns of a table are compressed and encoded, for pyarrow's writers."""
    k = sum(name.startswith("logp_") for name in schema.names)
    there = set(schema.names)
    return {
        "compression": "zstd",
        "compression_level": 3,
        "write_page_checksum": True,
        "use_dictionary": [name for name in dictionary_columns(table, k) if name in there],
        "column_encoding": {name: "BYTE_STREAM_SPLIT" for name in split_columns(table, k) if name in there},
    }


def read_through(path: Path) -> int:
    """Read every row of a file, in bounded memory, and see that each page is the one that was written.

    Returns:
        How many rows there are.

    Raises:
        OSError, pa.ArrowException: the file is damaged, or not there.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return sum(batch.num_rows for batch in file.iter_batches(1 << 16, use_threads=False))


def rows_table(
    table: TableName,
    columns: Mapping[str, Sequence[Any]],
    *,
    k: int,
    attempt: int | None = None,
    worker: int | None = None,
) -> pa.Table:
    """Rows of a table given by columns; those that are missing are NULL. Evaluations have no attempt and no worker.

    Raises:
        ValueError: a column is unknown or has another length.
    """
    schema = arrow_schema(table, k)
    unknown = set(columns) - set(schema.names)
    if unknown or not columns:
        raise ValueError(f"{table} has no column {', '.join(sorted(unknown)) or '(none given)'}")
    lengths = {name: len(values) for name, values in columns.items()}
    n = next(iter(lengths.values()))
    if any(length != n for length in lengths.values()):
        raise ValueError(f"columns of {table} differ in length: {lengths}")
    known = {**columns, "attempt": [attempt] * n, "worker": [worker] * n}
    arrays = [pa.array(known.get(field.name, [None] * n), field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def token_table(batch: TokenBatch, *, k: int, attempt: int, worker: int, rows: LoggedRows | None = None) -> pa.Table:
    """The token rows of a micro-batch that are written, one a position inside the mask, in row-major order."""
    rows = rows or LoggedRows()
    mask = batch.mask & (rows.of(batch.response_id) & rows.step(batch.step))[:, None]
    row, position = np.nonzero(mask)
    n = len(row)
    columns: dict[str, object] = {
        "attempt": np.full(n, attempt),
        "step": np.full(n, batch.step),
        "worker": np.full(n, worker),
        "response_id": batch.response_id[row],
        "position": position,
        "token_id": batch.token_id[mask],
        "logprob": batch.logprob[mask],
        "rank": batch.rank[mask],
    }
    whole = {
        "entropy": batch.entropy,
        "collision": batch.collision,
        "collision_logprob": batch.collision_logprob,
        "forking": batch.forking,
    }
    columns |= {name: values[mask] for name, values in whole.items() if values is not None}
    if (credit := batch.credit) is not None:
        columns |= {"ratio": credit.ratio[mask], "weight": credit.weight[mask], "smoothing": credit.smoothing[mask]}
        if credit.entropy_weight is not None:
            columns["entropy_weight"] = credit.entropy_weight[mask]
            columns |= {} if credit.entropy_slope is None else {"entropy_slope": credit.entropy_slope[mask]}
    if batch.sampler_logprob is not None:
        reported = batch.sampler_logprob[mask].astype(np.float32)
        columns["sampler_logprob"] = pa.array(reported, mask=np.isnan(reported))
    logp, ids = rows.stored(batch.top_logprob[mask]), batch.top_id[mask]
    columns |= {f"logp_{rank}": logp[:, rank - 1] for rank in range(1, k + 1)}
    columns |= {f"id_{rank}": ids[:, rank - 1] for rank in range(1, k + 1)}
    schema = arrow_schema("tokens", k)
    arrays = [
        _array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(n, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Any) -> pa.Array:
    """Values of a column; NaN stays NaN."""
    return values if isinstance(values, pa.Array) else pa.array(np.ascontiguousarray(values), from_pandas=False)
