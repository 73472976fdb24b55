"""The answer of a query as people and programs want it: table, CSV, JSON, Parquet or an Arrow stream.

Rows are written as they come, a batch at a time, so an answer may be larger than memory. A table is for eyes: it shows
the first `TABLE_ROWS` rows and says so when there are more. Text comes from models and files: what could steer a
terminal is shown, never sent.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ...store.errors import UsageError
from .tables import Cell, Column, Table, significant, terminal_width

if TYPE_CHECKING:
    import pyarrow as pa

BINARY = ("parquet", "arrow")
TABLE_ROWS = 1000


def write(answer: pa.RecordBatchReader, form: str, output: Path | None, *, everything: bool = False) -> None:
    """Write an answer to stdout or, whole or not at all, to a file.

    Args:
        answer: the rows.
        form: table, csv, json, parquet or arrow.
        output: a file; None is stdout.
        everything: every column of a table, however wide.

    Raises:
        UsageError: the file cannot be written.
    """
    if output is None:
        with _standard_output(form) as stream:
            write_stream(answer, form, stream, width=None if everything else terminal_width())
        return
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") if form in BINARY else temporary.open("w", encoding="utf-8", newline="") as file:
            write_stream(answer, form, file)
        os.replace(temporary, output)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise UsageError(f"cannot write {output}: {error.strerror or error}; choose another --output") from error
        raise


@contextlib.contextmanager
def _standard_output(form: str) -> Iterator[IO[Any]]:
    """Standard output as a format needs it: data are UTF-8 whatever the terminal's encoding, a table follows it."""
    if form in BINARY:
        yield sys.stdout.buffer
    elif form == "table" or sys.stdout.encoding.lower().replace("-", "") == "utf8":
        yield sys.stdout
    else:
        sys.stdout.flush()
        stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
        try:
            yield stream
        finally:
            stream.detach()
    sys.stdout.flush()


def write_stream(answer: pa.RecordBatchReader, form: str, stream: IO[Any], *, width: int | None = None) -> None:
    """Write an answer to an open file, binary for the formats in `BINARY`; `width` is that of a table."""
    if form == "table":
        stream.writelines(f"{line}\n" for line in table_lines(answer, width))
    else:
        _WRITERS[form](answer, stream)


def _csv(answer: pa.RecordBatchReader, file: IO[str]) -> None:
    for number, frame in enumerate(_frames(answer)):
        frame.to_csv(file, index=False, header=number == 0)


def _frames(answer: pa.RecordBatchReader) -> Iterator[Any]:
    """Each batch as pandas, an empty one first where there are none; integers with NULLs stay integers."""
    import pandas as pd
    import pyarrow as pa

    def integers(arrow_type: Any) -> Any:
        return pd.Int64Dtype() if pa.types.is_integer(arrow_type) else None

    yield pa.Table.from_batches([], answer.schema).to_pandas(types_mapper=integers)
    for batch in answer:
        yield batch.to_pandas(types_mapper=integers)


def _json(answer: pa.RecordBatchReader, file: IO[str]) -> None:
    between = "[\n"
    for batch in answer:
        for row in batch.to_pylist():
            file.write(between + " " + json.dumps(row, ensure_ascii=False, default=str))
            between = ",\n"
    file.write("[]\n" if between == "[\n" else "\n]\n")


def _parquet(answer: pa.RecordBatchReader, file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, answer.schema, compression="zstd") as writer:
        for batch in answer:
            writer.write_batch(batch)


def _arrow(answer: pa.RecordBatchReader, file: IO[bytes]) -> None:
    import pyarrow as pa

    with pa.ipc.new_stream(file, answer.schema) as writer:
        for batch in answer:
            writer.write_batch(batch)


def table_lines(answer: pa.RecordBatchReader, width: int | None) -> list[str]:
    """The first rows as the lines of a table and, where rows are missing, a line about it."""
    numeric = [str(field.type).startswith(("int", "uint", "float", "double", "decimal")) for field in answer.schema]
    columns = [
        Column(field.name, numeric=number, wraps=not number)
        for field, number in zip(answer.schema, numeric, strict=True)
    ]
    result = Table(*columns)
    rows = (row for batch in answer for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
    for row in islice(rows, TABLE_ROWS):
        result.add(*map(_cell, row))
    lines = result.lines(width, hint="--all shows every column")
    if next(rows, None) is not None:
        lines.append(f"the first {TABLE_ROWS} rows; --format csv gives all")
    return lines


def _cell(value: Any) -> Cell:
    """A value as a table shows it."""
    if isinstance(value, float):
        return significant(value)
    return "" if value is None else str(value)


_WRITERS: dict[str, Callable[[Any, Any], None]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
}
