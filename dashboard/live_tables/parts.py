"""One Parquet part as rows for the mirror's tables, and what tells it from another under the same path."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...store.layout.manifest_file import Part

LEFT_ON_DISK = ("prompt", "completion")
"""Columns that are NULL in the mirror's tables."""
Key = tuple[str, int, int]
"""Path, bytes and time of change of a file."""


def key_of(part: Part) -> Key:
    """What tells a file from another under the same path."""
    path = str(part.path)
    try:
        return (path, part.bytes, os.stat(path).st_mtime_ns)
    except OSError:
        return (path, part.bytes, 0)


def read_part(path: Path, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` that a Parquet file has, in its types, but those left on disk.

    Raises:
        OSError, pa.ArrowException: it cannot be read.
    """
    with pq.ParquetFile(path) as file:
        written = file.schema_arrow
        there = set(written.names).difference(LEFT_ON_DISK)
        fields = pa.schema([field for field in schema if field.name in there])
        # Each column chosen by name, and each cast, costs more than to read it
        rows = file.read(None if len(fields) == len(written) else fields.names, use_threads=False)
        return rows if rows.schema.equals(fields) else rows.select(fields.names).cast(fields)
