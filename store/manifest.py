"""The list that readers follow: which attempts a run has had and which Parquet files are finished.

`manifest/<attempt>-<rank>.jsonl`, one JSON object a line, appended by one process each:
    {"kind": "attempt", "attempt", "rank", "world_size", "start_step", "k", "started", "pid", "host", "config"}   first
    {"kind": "file", "table", "path", "steps": [first, last], "rows", "bytes", "write_ms"}   after each finished file
    {"kind": "cost", "dropped", "error"}   when batches were lost
    {"kind": "end", "status", "ended"}   last line: finished | interrupted | failed

Invariant: a file named here was complete under its name before its line was written. Reading never raises on content:
what is torn, missing or foreign is named in `Manifest.problems` and the rest is served. A line that is being written,
or a file whose line is about to be, is no problem while its writer lives.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .run import MANIFEST_FOLDER
from .schema import TABLES, TableName

_ALIVE_SECONDS = 60
"""A manifest touched this recently belongs to a live attempt even when its process cannot be seen from here."""
_PART_NAME = re.compile(r"part-(\d+)-\d+-\d+\.parquet")


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


@dataclass(frozen=True)
class Attempt:
    """One start of a run, all its ranks together.

    Attributes:
        logged: whether it has written at least one roll-up; an attempt that logged nothing hides nothing.
        status: running | finished | interrupted | failed | stopped (no end line, and its process is gone).
        dropped: micro-batches that were scored but not logged.
        k: ranked candidates its token rows hold; None where its manifest does not say.
    """

    attempt: int
    start_step: int
    world_size: int
    started: str
    ended: str | None
    status: str
    logged: bool
    dropped: int
    k: int | None = None


@dataclass
class Manifest:
    """Everything the manifests of a run say."""

    attempts: list[Attempt] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Writer:
    """One manifest file: a process of an attempt."""

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

    @classmethod
    def of(cls, path: Path, entry: Mapping[str, Any]) -> _Writer:
        """From a manifest's first line.

        Raises:
            KeyError, TypeError, ValueError: it is no such line.
        """
        if entry["kind"] != "attempt":
            raise ValueError
        k = entry.get("k")
        return cls(
            path,
            int(entry["attempt"]),
            int(entry["rank"]),
            int(entry.get("start_step", 0)),
            int(entry.get("world_size", 1)),
            str(entry.get("started")),
            int(entry.get("pid", 0)),
            str(entry.get("host")),
            None if k is None else int(k),
        )

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


def read_manifest(run_dir: Path) -> Manifest:
    """Read all manifests of a run and check that the files they name are there and whole."""
    run_dir = Path(run_dir)
    manifest = Manifest()
    attempts: dict[int, list[_Writer]] = {}
    named: set[str] = set()
    for path in sorted((run_dir / MANIFEST_FOLDER).glob("*.jsonl")):
        writer = _read_file(run_dir, path, manifest, named)
        if writer is not None:
            attempts.setdefault(writer.attempt, []).append(writer)
    logged = {part.attempt for part in manifest.parts if part.table == "rollups"}
    manifest.attempts = [_attempt(writers, number in logged) for number, writers in sorted(attempts.items())]
    if not any(attempt.status == "running" for attempt in manifest.attempts):
        manifest.problems += _strays(run_dir, named, newest=max(attempts, default=0))
    return manifest


def _read_file(run_dir: Path, path: Path, manifest: Manifest, named: set[str]) -> _Writer | None:
    """Take in one manifest file; None where it does not begin as one."""
    problems = manifest.problems
    try:
        *lines, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(f"{path}: {error.strerror}; the files it names are left out")
        return None
    if not lines:
        return None  # its first line is being written
    try:
        writer = _Writer.of(path, json.loads(lines[0]))
    except (ValueError, KeyError, TypeError):
        problems.append(f"{path}: the first line is not the attempt's; the files it names are left out")
        return None
    for number, line in enumerate(lines[1:], 2):
        try:
            entry = json.loads(line)
            if entry["kind"] == "file":
                named.add(str(entry["path"]))
                _add_part(manifest, run_dir, writer, entry)
            elif entry["kind"] == "cost":
                writer.dropped = int(entry["dropped"])
            elif entry["kind"] == "end":
                writer.end = {"status": str(entry["status"]), "ended": str(entry.get("ended"))}
        except (ValueError, KeyError, TypeError, IndexError):
            problems.append(f"{path}: line {number} is damaged and left out")
    if rest and not writer.alive():
        problems.append(f"{path}: the last line is torn and left out")
    return writer


def _add_part(manifest: Manifest, run_dir: Path, writer: _Writer, entry: Mapping[str, Any]) -> None:
    """Take in a finished file, or a line about what is wrong with it.

    Raises:
        KeyError, TypeError, ValueError, IndexError: the entry is damaged.
    """
    table, relative = entry["table"], PurePosixPath(entry["path"])
    part = Part(
        table,
        run_dir / relative,
        writer.attempt,
        writer.rank,
        int(entry["steps"][0]),
        int(entry["steps"][1]),
        int(entry["rows"]),
        int(entry["bytes"]),
        float(entry.get("write_ms", 0.0)),
    )
    if table not in TABLES or relative.is_absolute() or ".." in relative.parts:
        manifest.problems.append(f"{writer.path}: {relative} is no table of this run and left out")
    elif problem := damage(part):
        manifest.problems.append(problem)
    else:
        manifest.parts.append(part)


def damage(part: Part) -> str | None:
    """What is wrong with a finished file, in a line, or None: it must have its size and end as Parquet files do."""
    try:
        with part.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4))
            if size == part.bytes and file.read() == b"PAR1":
                return None
    except OSError as error:
        return f"{part.path}: {error.strerror}; its {part.rows} rows are left out"
    return f"{part.path}: torn ({size} bytes of {part.bytes}); its {part.rows} rows are left out"


def _strays(run_dir: Path, named: set[str], newest: int) -> list[str]:
    """A line for each table with Parquet files that no manifest names; those of an attempt just begun are not told."""
    lines = []
    for table in TABLES:
        strays = []
        for path in sorted((run_dir / table).glob("*.parquet")):
            match = _PART_NAME.fullmatch(path.name)
            if f"{table}/{path.name}" not in named and not (match and int(match[1]) > newest):
                strays.append(path.name)
        if strays:
            more = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
            lines.append(f"{run_dir / table / strays[0]}{more}: named in no manifest and left out")
    return lines


def _attempt(writers: list[_Writer], logged: bool) -> Attempt:
    """What the processes of one attempt say together."""
    first = min(writers, key=lambda writer: writer.rank)
    ends = [writer.end for writer in writers if writer.end is not None]
    if len(ends) < len(writers):
        status, ended = ("running" if any(writer.alive() for writer in writers) else "stopped"), None
    else:
        statuses = [end["status"] for end in ends]
        status = next((s for s in ("failed", "interrupted") if s in statuses), statuses[0])
        ended = max(end["ended"] for end in ends)
    return Attempt(
        first.attempt,
        first.start_step,
        first.world_size,
        first.started,
        ended,
        status,
        logged,
        sum(writer.dropped for writer in writers),
        max((writer.k for writer in writers if writer.k is not None), default=None),
    )
