"""The list that readers follow: which attempts a run has had and which Parquet files are finished.

`manifest/<attempt>-<rank>.jsonl`, one JSON object a line, appended by one process each:
    {"kind": "attempt", "attempt", "rank", "world_size", "start_step", "started", "pid", "host", "config"}   first line
    {"kind": "file", "table", "path", "steps": [first, last], "rows", "bytes", "write_ms"}   after each finished file
    {"kind": "cost", "dropped", "error"}   when batches were lost
    {"kind": "end", "status", "ended"}   last line: finished | interrupted | failed

Invariant: a file named here was complete under its name before its line was written. Reading never raises on content:
what is torn, missing or foreign is named in `Manifest.problems` and the rest is served.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .run import MANIFEST_FOLDER
from .schema import TABLES, TableName

_ALIVE_SECONDS = 60
"""A manifest touched this recently belongs to a live attempt even when its process cannot be seen from here."""


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
    """

    attempt: int
    start_step: int
    world_size: int
    started: str
    ended: str | None
    status: str
    logged: bool
    dropped: int


@dataclass
class Manifest:
    """Everything the manifests of a run say."""

    attempts: list[Attempt] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_manifest(run_dir: Path) -> Manifest:
    """Read all manifests of a run and check that the files they name are there and whole."""
    run_dir = Path(run_dir)
    manifest = Manifest()
    ranks: dict[int, list[dict[str, Any]]] = {}
    for path in sorted((run_dir / MANIFEST_FOLDER).glob("*.jsonl")):
        header: dict[str, Any] | None = None
        for entry in _lines(path, manifest.problems):
            if entry["kind"] == "attempt":
                header = {**entry, "path": path, "end": None, "dropped": 0}
                ranks.setdefault(int(entry["attempt"]), []).append(header)
            elif header is None:
                manifest.problems.append(f"{path}: the first line is not the attempt's; the file is left out")
                break
            elif entry["kind"] == "file":
                _add_part(manifest, run_dir, header, entry)
            elif entry["kind"] == "cost":
                header["dropped"] = int(entry.get("dropped", 0))
            elif entry["kind"] == "end":
                header["end"] = entry
    logged = {part.attempt for part in manifest.parts if part.table == "rollups"}
    manifest.attempts = [_attempt(number, headers, number in logged) for number, headers in sorted(ranks.items())]
    return manifest


def _lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The readable entries of a manifest; an unfinished last line is a write under way, not a problem."""
    entries: list[dict[str, Any]] = []
    try:
        raw = path.read_bytes()
    except OSError as error:
        problems.append(f"{path}: {error.strerror}; its files are left out")
        return entries
    lines = raw.split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            entry = json.loads(line)
            _ = entry["kind"]
            entries.append(entry)
        except (ValueError, KeyError, TypeError):
            problems.append(f"{path}: line {number} is damaged and left out")
    return entries


def _add_part(manifest: Manifest, run_dir: Path, header: dict[str, Any], entry: dict[str, Any]) -> None:
    try:
        table, relative, steps = entry["table"], entry["path"], entry["steps"]
        part = Part(
            table,
            run_dir / relative,
            int(header["attempt"]),
            int(header["rank"]),
            int(steps[0]),
            int(steps[1]),
            int(entry["rows"]),
            int(entry["bytes"]),
            float(entry.get("write_ms", 0.0)),
        )
        inside = part.path.resolve().is_relative_to(run_dir.resolve())
    except (KeyError, TypeError, ValueError, IndexError):
        manifest.problems.append(f"{header['path']}: an entry for a file is damaged and left out")
        return
    if table not in TABLES or not inside:
        manifest.problems.append(f"{header['path']}: {relative} is no table of this run and left out")
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


def _attempt(number: int, headers: list[dict[str, Any]], logged: bool) -> Attempt:
    first = headers[0]
    ends = [header["end"] for header in headers]
    if any(end is None for end in ends):
        status, ended = ("running" if any(_alive(h) for h in headers if h["end"] is None) else "stopped"), None
    else:
        statuses = [end["status"] for end in ends]
        status = next((s for s in ("failed", "interrupted") if s in statuses), statuses[0])
        ended = max(str(end.get("ended")) for end in ends)
    return Attempt(
        number,
        int(first.get("start_step", 0)),
        int(first.get("world_size", 1)),
        str(first.get("started")),
        ended,
        status,
        logged,
        sum(header["dropped"] for header in headers),
    )


def _alive(header: dict[str, Any]) -> bool:
    if header.get("host") == socket.gethostname():
        try:
            os.kill(int(header["pid"]), 0)
        except ProcessLookupError:
            return False
        except (PermissionError, ValueError, KeyError, TypeError):
            return True
        return True
    try:
        return time.time() - header["path"].stat().st_mtime < _ALIVE_SECONDS
    except OSError:
        return False
