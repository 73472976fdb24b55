"""Checksums of files, and lines of JSON that carry their own: what was written is told from what was altered.

    {"kind": "file", …, "line": 3, "crc": "1c291ca3"}

`line` counts the lines of a file from 1, so that one that is gone or stands there twice is seen. `crc` is the CRC-32 of
the text before it, begun from a key of the file: a line that was moved from another file does not fit. Files have the
CRC-32 of their bytes; it sees every damage of up to 32 bits in a row, and all but one in four thousand million others.
Lines and files of runs that were written before there were checksums have none, and are read as they are.
"""

from __future__ import annotations

import io
import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .regular_files import open_regular

_CRC = re.compile(rb', "crc": "([0-9a-f]{8})"\}$')
_BLOCK = 1 << 20


class LineAltered(ValueError):
    """A line is not the one that was written."""


def sealed(entry: Mapping[str, Any], number: int, key: bytes) -> bytes:
    """A line with its number and checksum, newline included.

    Args:
        entry: what the line says.
        number: which line of its file it is, from 1.
        key: what the file begins its checksums from.
    """
    text = json.dumps({**entry, "line": number}, ensure_ascii=False, default=str)[:-1].encode("utf-8", "replace")
    return text + f', "crc": "{zlib.crc32(text, zlib.crc32(key)):08x}"}}\n'.encode()


def unsealed(line: bytes, key: bytes) -> dict[str, Any]:
    """What a line without its newline says; one without a checksum has no `crc`.

    Raises:
        LineAltered: it does not have the checksum it states.
        ValueError, RecursionError: it is no JSON object.
    """
    if match := _CRC.search(line):
        if zlib.crc32(line[: match.start()], zlib.crc32(key)) != int(match[1], 16):
            raise LineAltered
        entry = json.loads(line)
    else:
        entry = json.loads(line)
        if isinstance(entry, dict) and "crc" in entry:
            raise LineAltered
    if not isinstance(entry, dict):
        raise ValueError("no object")
    return entry


class SealedLines:
    """Takes the lines of a file one after the other, and tells those that were written from all others.

    Args:
        key: what the file begins its checksums from.

    Attributes:
        sealed: whether its lines have checksums, as the first one says; None before it.
        number: how many lines have been taken.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.sealed: bool | None = None
        self.number = 0
        self._seen: set[int] = set()

    def take(self, line: bytes) -> dict[str, Any]:
        """What the next line says.

        Raises:
            LineAltered: it is not the one that was written, or stands there a second time.
            ValueError, RecursionError: it is no JSON object.
        """
        self.number += 1
        entry = unsealed(line, self._key)
        sealed = "crc" in entry
        if self.sealed is None:
            self.sealed = sealed
        if sealed != self.sealed:
            raise LineAltered
        if sealed:
            number = int(entry["line"])
            if number in self._seen:
                raise LineAltered
            self._seen.add(number)
        return entry

    def gone(self) -> int:
        """How many lines are missing before the last one that was read, those taken but not readable aside."""
        return max(self._seen) - self.number if self._seen and max(self._seen) > self.number else 0


def file_checksum(path: Path) -> str:
    """CRC-32 of a file's bytes, eight hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    value = 0
    with open_regular(path, follow=False, buffered=False) as file:
        room = min(_BLOCK, os.fstat(file.fileno()).st_size + 1)  # most files are small, and there are many
        while block := file.read(room):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


class ChecksumWriter(io.RawIOBase):
    """A file that is written from its beginning to its end and knows the checksum of what it was given."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._value = 0
        self._length = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Append bytes."""
        self._file.write(data)
        self._value = zlib.crc32(data, self._value)
        self._length += memoryview(data).nbytes
        return memoryview(data).nbytes

    def tell(self) -> int:
        """Bytes written so far."""
        return self._length

    @property
    def checksum(self) -> str:
        """CRC-32 of everything written, eight hexadecimal digits."""
        return f"{self._value:08x}"
