"""One process's manifest, `manifest/<attempt>-<rank>.jsonl`: who writes, which files it has finished, how it ended.

    {"kind": "attempt", "attempt", "rank", "world_size", "start_step", "k", "started", "pid", "host",
     "namespace", "config", "probe", "smoothing", "sampler", "earlier": {manifest: lines}, "vocabulary"}   first
    {"kind": "file", "table", "path", "steps": [first, last], "rows", "bytes", "checksum", "write_ms"}
                                     after each finished file
    {"kind": "cost", "dropped", "error"}   when batches were lost
    {"kind": "end", "status", "ended"}   last line: finished | interrupted | diverged | failed

Every line has its number and a checksum (`checksums`); `earlier` counts the lines of the manifests that were there
before, so that one cut short later is seen; `vocabulary` is the checksum of `vocabulary.parquet`; `probe` and
`smoothing` say what the attempt's figures mean (`meaning`). Manifests written before there were checksums have neither.

Invariant: a file named here was complete under its name before its line was written. Reading never raises on content;
`ManifestFile.problems` says what is torn, altered, missing or foreign.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from .checksums import SealedLines, file_checksum
from .liveness import State, state_of
from .meaning import meaning_of
from .regular_files import open_regular, read_at_most
from .schema import TABLES, TableName

LARGEST_MANIFEST = 1 << 28
"""Bytes of a manifest that are read: a million files are named in fewer."""
WHOSE = re.compile(r"(\w+)/(?:part|merged)-(?:(\d+)-(\d+)|evaluation-([0-9a-f]{12}))-\d+\.parquet")
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
    checksum: str | None
    """CRC-32 of its bytes; None where it was written before there were checksums."""
    evaluation: str | None = None
    """The evaluation beside training that wrote it; attempt and rank are then 0 and say nothing."""

    def __hash__(self) -> int:
        return hash(self.path)  # which a path remembers: a refresh looks up every part of a run


def part_of(
    run_dir: Path, attempt: int, rank: int, entry: Mapping[str, Any], evaluation: str | None = None
) -> Part | None:
    """The part that an entry of a manifest names; None where its table or path is none of a run's.

    Raises:
        KeyError, TypeError, ValueError, IndexError: the entry is damaged.
    """
    table, relative = entry["table"], entry["path"]
    whose = WHOSE.fullmatch(relative)
    if table not in TABLES or whose is None or whose[1] != table:
        return None
    if whose[4] != evaluation or (evaluation is None and (int(whose[2]), int(whose[3])) != (attempt, rank)):
        return None
    first, last = entry["steps"]
    return Part(
        table,
        Path(f"{run_dir}/{relative}"),
        attempt,
        rank,
        whole(first),
        whole(last),
        whole(entry["rows"], _MOST),
        whole(entry["bytes"], _MOST),
        float(entry.get("write_ms", 0.0)),
        _checksum(entry.get("checksum")),
        evaluation,
    )


def _checksum(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and re.fullmatch("[0-9a-f]{8}", value)):
        raise ValueError(value)
    return value


def damage(part: Part) -> str | None:
    """What is wrong with a finished file, in a line, or None: it must have its size and end as Parquet files do."""
    try:
        # A link could lead out of the run's folder.
        with open_regular(part.path, follow=False, buffered=False) as file:
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


def altered(part: Part) -> str | None:
    """Whether a file's bytes are not those that were written, in a line, or None. It is read to its end."""
    try:
        if part.checksum in (None, file_checksum(part.path)):
            return None
    except OSError:
        return damage(part)
    return f"{part.path}: altered since it was written (checksum); its {part.rows} rows are left out"


@dataclass
class ManifestFile:
    """What one process has written about itself.

    Attributes:
        parts: finished files, in order, not looked at yet.
        torn: whether it ends in half a line.
        problems: one line per damaged entry.
        earlier: lines of the manifests that were there before it, by name.
        vocabulary: checksum of the vocabulary.
        meaning: what its figures mean; empty where it does not say.
        config: the options it was started with.
        length: bytes read so far.
        lines: the lines read so far.
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
    namespace: str | None
    k: int | None
    earlier: Mapping[str, int]
    vocabulary: str | None
    meaning: Mapping[str, Any]
    config: Mapping[str, Any]
    lines: SealedLines
    dropped: int = 0
    end: Mapping[str, Any] | None = None
    parts: list[Part] = field(default_factory=list)
    torn: bool = False
    problems: list[str] = field(default_factory=list)
    length: int = 0
    last: bytes = b""

    def alive(self) -> bool:
        """Whether the process may still be writing."""
        return self.end is None and self.state()[0] != "stopped"

    def state(self) -> tuple[State, str | None]:
        """Whether the writer of a manifest without an end is there (`liveness`), and when it was last seen if not."""
        return state_of(self.path, pid=self.pid, host=self.host, namespace=self.namespace)


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
            sealed = SealedLines(path.name.encode())
            result = _begun(path, sealed.take(lines[0]), sealed)
        except DAMAGED:
            return [f"{path}: the first line is not the attempt's; the files it names are left out"]
        result.last = lines.pop(0)
    for line in lines:
        try:
            _take(run_dir, result, result.lines.take(line))
        except DAMAGED:
            result.problems.append(f"{path}: line {result.lines.number} is damaged and left out")
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


def _begun(path: Path, entry: Mapping[str, Any], lines: SealedLines) -> ManifestFile:
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
        entry.get("namespace"),
        None if k is None else int(k),
        {str(name): whole(count) for name, count in dict(entry.get("earlier", {})).items()},
        _checksum(entry.get("vocabulary")),
        meaning_of(entry),
        dict(entry.get("config") or {}),
        lines,
    )
