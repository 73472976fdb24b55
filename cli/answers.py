"""The answer of a query as people and programs want it: table, CSV, JSON, Parquet or an Arrow stream.

Rows are written as they come, a batch at a time, so an answer may be larger than memory. A table is for eyes: it shows
the first `TABLE_ROWS` rows and says so when there are more. Text comes from models and files: what could steer a
terminal is shown, never sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from ..store.errors import UsageError

FORMATS = ("table", "csv", "json", "parquet", "arrow")
BINARY = ("parquet", "arrow")
TABLE_ROWS = 1000


def write(answer: pa.RecordBatchReader, form: str, output: Path | None) -> None:
    """Write an answer to stdout or, whole or not at all, to a file.

    Raises:
        UsageError: the file cannot be written.
    """
    if output is None:
        stream: IO[Any] = sys.stdout.buffer if form in BINARY else sys.stdout
        write_stream(answer, form, stream)
        stream.flush()
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
            raise UsageError(f"cannot write {output}: {error.strerror or error}") from error
        raise


def write_stream(answer: pa.RecordBatchReader, form: str, stream: IO[Any]) -> None:
    """Write an answer to an open file, binary for the formats in `BINARY`."""
    _WRITERS[form](answer, stream)


def _csv(answer: pa.RecordBatchReader, file: IO[str]) -> None:
    for number, frame in enumerate(_frames(answer)):
        frame.to_csv(file, index=False, header=number == 0)


def _frames(answer: pa.RecordBatchReader) -> Iterator[Any]:
    """Each batch as pandas, an empty one first where there are none; integers with NULLs stay integers."""
    import pandas as pd

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
    with pa.ipc.new_stream(file, answer.schema) as writer:
        for batch in answer:
            writer.write_batch(batch)


def _table(answer: pa.RecordBatchReader, file: IO[str]) -> None:
    from rich.console import Console

    # A pipe has no width: cells are then never cut.
    console = Console(file=file, width=None if file.isatty() else 10_000)
    with console.capture() as captured:
        console.print(table(answer))
    file.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())


def table(answer: pa.RecordBatchReader) -> Any:
    """The first rows as a rich renderable, a table and, where rows are missing, a line about it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    result = Table()
    for field in answer.schema:
        numeric = str(field.type).startswith(("int", "uint", "float", "double", "decimal"))
        result.add_column(Text(printable(field.name)), justify="right" if numeric else "left", no_wrap=numeric)
    rows = (row for batch in answer for row in zip(*(column.to_pylist() for column in batch.columns), strict=True))
    for row in islice(rows, TABLE_ROWS):
        result.add_row(*(Text(cell(value)) for value in row))
    cut = next(rows, None) is not None
    return Group(result, f"the first {TABLE_ROWS} rows; --format csv gives all") if cut else result


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else printable(str(value))


def printable(text: str) -> str:
    """Text with every character that could steer a terminal or turn its reading direction written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode() for c in text)


_WRITERS: dict[str, Callable[[Any, Any], None]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
}
