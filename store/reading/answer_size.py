"""How much memory an answer takes where it is shown, and how many of its rows fit.

A value that becomes a Python object in a data frame costs far more than its bytes in Arrow: a list of a million
structs of one bit each is 125 kB there, and hundreds of megabytes here.
"""

from __future__ import annotations

import pyarrow as pa

_OBJECT_BYTES = 128
"""What a Python object costs beside its content."""


def size_in_bytes(rows: pa.RecordBatch) -> int:
    """About the bytes of some rows in a data frame, an upper bound where values are small."""
    return sum(column.nbytes + _OBJECT_BYTES * _objects(column) for column in rows.columns)


def rows_that_fit(rows: pa.RecordBatch, room: int) -> int:
    """How many of the first rows take at most `room` bytes together."""
    fit, beyond = 0, rows.num_rows + 1
    while beyond - fit > 1:
        middle = (fit + beyond) // 2
        if size_in_bytes(rows.slice(0, middle)) <= room:
            fit = middle
        else:
            beyond = middle
    return fit


def _objects(values: pa.Array, *, each: bool = False) -> int:
    """Python objects that values become; numbers become some only in a struct (`each`), not as a column or a list."""
    if isinstance(values, pa.ExtensionArray):
        return _objects(values.storage, each=True)
    if pa.types.is_primitive(values.type):
        return len(values) if each else 0
    if isinstance(values, pa.MapArray):
        first, last = values.offsets[0].as_py(), values.offsets[-1].as_py()
        pairs = (child.slice(first, last - first) for child in (values.keys, values.items))
        return len(values) + sum(_objects(child, each=True) for child in pairs)
    if isinstance(values, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)):
        return len(values) + _objects(values.flatten())
    if isinstance(values, pa.StructArray):
        return len(values) + sum(_objects(field, each=True) for field in values.flatten())
    return len(values)
