"""One process's manifest, `manifest/<attempt>-<rank>.jsonl`: who writes, which files it has finished, how it ended.

    {"kind": "attempt", "attempt", "rank", "world_size", "start_step", "k", "started", "pid", "host", "config"}   first
    {"kind": "file", "table", "path", "steps": [first, last], "rows", "bytes", "write_ms"}   after each finished file
    {"kind": "cost", "dropped", "error"}   when batches were lost
    {"kind": "end", "status", "ended"}   last line: finished | interrupted | diverged | failed

Invariant: a file named here was complete under its name before its line was written. Reading never raises on content;
`ManifestFile.problems` says what is torn, missing or foreign.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from .regular_files import open_regular, read_at_most
from .schema import TABLES, TableName

_ALIVE_SECONDS = 60
"""A manifest touched this recently belongs to a live attempt even when its process cannot be seen from here."""


LARGEST_MANIFEST = 1 << 28
"""Bytes of a manifest that are read: a million files are named in fewer."""
_MOST = 2**50
"""More rows, bytes or lost batches than any file names."""

DAMAGED = (ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError)
"""What reading an entry that is none can raise."""


def whole(value: Any, most: int = 2**31 - 1) -> int:
    """A whole number as a table can hold it.

    Raises:
        TypeError, ValueError: it is none, negative, or larger than `most`.
    """
    result = int(value)
    if not 0 <= result <= most:
        raise ValueError(value)
    return result


@dataclass(frozen=True)
class Part:
    """One finished Parquet file."""

    table: TableName
    path: Path
    attempt: int
    rank: int
    first_step: int
    last_step: int
    rows: int
    bytes: int
    write_ms: float


def part_of(run_dir: Path, attempt: int, rank: int, entry: Mapping[str, Any]) -> Part | None:
    """The part that an entry of a manifest names; None where its table or path is none of a run's.

    Raises:
        KeyError, TypeError, ValueError, IndexError: the entry is damaged.
    """
    table, relative = entry["table"], PurePosixPath(entry["path"])
    if table not in TABLES or relative.is_absolute() or ".." in relative.parts:
        return None
    first, last = entry["steps"]
    return Part(
        table,
        run_dir / relative,
        attempt,
        rank,
        whole(first),
        whole(last),
        whole(entry["rows"], _MOST),
        whole(entry["bytes"], _MOST),
        float(entry.get("write_ms", 0.0)),
    )


def damage(part: Part) -> str | None:
    """What is wrong with a finished file, in a line, or None: it must have its size and end as Parquet files do."""
    try:
        # A link could lead out of the run's folder.
        with open_regular(part.path, follow=False) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4))
            if size == part.bytes and file.read() == b"PAR1":
                return None
    except ValueError:
        return f"{part.path}: invalid file name; its {part.rows} rows are left out"
    except OSError as error:
        reason = "a link, which is not followed" if error.errno == errno.ELOOP else error.strerror
        return f"{part.path}: {reason}; its {part.rows} rows are left out"
    return f"{part.path}: torn ({size} bytes of {part.bytes}); its {part.rows} rows are left out"


@dataclass
class ManifestFile:
    """What one process has written about itself.

    Attributes:
        parts: finished files, in order, not looked at yet.
        torn: whether it ends in half a line.
        problems: one line per damaged entry.
        length, lines: bytes and lines read so far.
        last: the last line read; where it is gone, the run was written anew under its old name.
    """

    path: Path
    attempt: int
    rank: int
    start_step: int
    world_size: int
    started: str
    pid: int
    host: str
    k: int | None
    dropped: int = 0
    end: Mapping[str, Any] | None = None
    parts: list[Part] = field(default_factory=list)
    torn: bool = False
    problems: list[str] = field(default_factory=list)
    length: int = 0
    lines: int = 0
    last: bytes = b""

    def alive(self) -> bool:
        """Whether the process is still there, as far as can be seen from this machine."""
        if self.end is not None:
            return False
        if self.host == socket.gethostname() and self.pid > 0:
            try:
                os.kill(self.pid, 0)
            except (ProcessLookupError, OverflowError):
                return False
            except PermissionError:
                return True
            return True
        try:
            return time.time() - self.path.stat().st_mtime < _ALIVE_SECONDS
        except OSError:
            return False


def read_manifest_file(
    run_dir: Path, path: Path, known: ManifestFile | list[str] | None = None
) -> ManifestFile | list[str]:
    """Read one process's manifest, or say in lines (none: it is being begun) why it cannot be told whose it is.

    Args:
        run_dir: the run's folder.
        path: the manifest.
        known: what an earlier reading found; only what was appended since is then read.
    """
    result = known if isinstance(known, ManifestFile) else None
    try:
        with open_regular(path) as file:
            if result is not None and not _goes_on(file, result):
                result = None
            file.seek(result.length if result else 0)
            *lines, rest = read_at_most(file, LARGEST_MANIFEST).split(b"\n")
    except OSError as error:
        return [f"{path}: {error.strerror}; the files it names are left out"]
    read = sum(len(line) + 1 for line in lines)
    if result is None:
        if not lines:
            return []  # its first line is being written
        try:
            result = _begun(path, json.loads(lines[0]))
        except DAMAGED:
            return [f"{path}: the first line is not the attempt's; the files it names are left out"]
        result.last = lines.pop(0)
        result.lines = 1
    for line in lines:
        result.lines += 1
        try:
            _take(run_dir, result, json.loads(line))
        except DAMAGED:
            result.problems.append(f"{path}: line {result.lines} is damaged and left out")
        result.last = line
    result.torn = bool(rest)
    result.length += read
    return result


def _goes_on(file: BinaryIO, result: ManifestFile) -> bool:
    """Whether what was read is still there: a file written anew may well have the inode of the one deleted."""
    file.seek(result.length - len(result.last) - 1)
    return file.read(len(result.last) + 1) == result.last + b"\n"


def _take(run_dir: Path, result: ManifestFile, entry: Mapping[str, Any]) -> None:
    """Take in a line after the first.

    Raises:
        any of `DAMAGED`: it is no line of a manifest.
    """
    if entry["kind"] == "file":
        part = part_of(run_dir, result.attempt, result.rank, entry)
        if part is None:
            result.problems.append(f"{result.path}: {entry['path']!r} is no table of this run and left out")
        else:
            result.parts.append(part)
    elif entry["kind"] == "cost":
        result.dropped = whole(entry["dropped"], _MOST)
    elif entry["kind"] == "end":
        result.end = {"status": str(entry["status"]), "ended": str(entry.get("ended"))}


def _begun(path: Path, entry: Mapping[str, Any]) -> ManifestFile:
    """From a manifest's first line.

    Raises:
        KeyError, TypeError, ValueError: it is no such line.
    """
    if entry["kind"] != "attempt":
        raise ValueError
    k = entry.get("k")
    return ManifestFile(
        path,
        whole(entry["attempt"]),
        whole(entry["rank"]),
        whole(entry.get("start_step", 0)),
        whole(entry.get("world_size", 1)),
        str(entry.get("started")),
        int(entry.get("pid", 0)),
        str(entry.get("host")),
        None if k is None else int(k),
    )
