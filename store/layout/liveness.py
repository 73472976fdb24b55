"""Whether the process that writes a manifest is still there, as can be seen from any host and any container.

A writer touches `manifest/.alive-<attempt>-<rank>` every few seconds, busy or idle, and removes it once it has ended
its manifest: one that has no end and no such file has lost its end. By its age a writer is

    running    it was touched within `SILENT_SECONDS`
    silent     longer ago, and perhaps for good: the machine is gone, hangs, or has lost sight of the folder
    stopped    longer ago than `STOPPED_SECONDS`, or its process is seen to be gone

    unknown    the run is a copy of one in a bucket, and no sign of life was seen to change there

The process itself is asked after only from the host and the process namespace it runs in: elsewhere its number may be
another's. A writer from before there were signs of life is judged by its process, or by the age of its manifest.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

SILENT_SECONDS = 60.0
"""A writer that lives is never quiet for so long."""
STOPPED_SECONDS = 3600.0
"""One that has been quiet for so long is taken for gone."""
State = Literal["running", "silent", "unknown", "stopped"]
STATES: tuple[State, ...] = ("running", "silent", "unknown", "stopped")
COPY_FILE = ".mirror.json"
"""In a run's folder: it is a copy of one in a bucket (`remote/copy`)."""


def sign_of_life(manifest: Path) -> Path:
    """The file that a manifest's writer touches."""
    return manifest.with_name(f".alive-{manifest.stem}")


def process_namespace() -> str:
    """What tells this system's process numbers from those of a container; empty where that cannot be told."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def state_of(manifest: Path, *, pid: int, host: str, namespace: str | None) -> tuple[State, str | None]:
    """Whether the writer of a manifest without an end lives, and when it was last seen (ISO 8601 UTC) if not.

    Args:
        manifest: its file.
        pid, host: of its process.
        namespace: of its process number; None: it was written before that was told.
    """
    seen = _touched(sign_of_life(manifest))
    if (manifest.parents[1] / COPY_FILE).exists():
        return ("running" if seen is not None and time.time() - seen < SILENT_SECONDS else "unknown"), None
    here = host == socket.gethostname() and pid > 0 and namespace in (None, process_namespace())
    if here and _is_gone(pid):
        return "stopped", _iso(seen or _touched(manifest))
    if seen is None and namespace is None:  # from before there were signs of life
        if here:
            return "running", None
        seen = _touched(manifest)
    quiet = float("inf") if seen is None else time.time() - seen
    if quiet < SILENT_SECONDS:
        return "running", None
    return ("silent" if quiet < STOPPED_SECONDS else "stopped"), _iso(seen)


def in_words(status: str, last_seen: str | None, lost: int = 0) -> str:
    """A status as people are told it: `silent for 4 min`, `finished, 5 batches lost`.

    Args:
        status: of a run or an attempt.
        last_seen: when its writer was (ISO 8601), where it is silent.
        lost: micro-batches that were scored but not logged.
    """
    if status == "silent" and last_seen:
        quiet = (datetime.now(UTC) - datetime.fromisoformat(last_seen)).total_seconds()
        status = f"silent for {max(1, round(quiet / 60))} min"
    return f"{status}, {lost} {'batch' if lost == 1 else 'batches'} lost" if lost else status


def _touched(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
