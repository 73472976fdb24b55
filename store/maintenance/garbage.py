"""Removable files of a run: parts that were merged long enough ago, files no manifest names, unfinished files.

    simko gc runs/first             shows them
    simko gc runs/first --delete    removes them

While a process writes the run, as its sign of life or its lock shows, only merged parts are removable: a file it has
just finished is named a moment later. A file that no manifest names may be all there is of rows whose line was lost, so
it stays for hours, and for as long as anything of the run is missing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..layout.manifest import Manifest, ManifestReader, read_manifest
from ..layout.omissions import stray_parts
from ..layout.run import MANIFEST_FOLDER, read_run
from ..layout.schema import TABLES
from .compaction import locked

GRACE_SECONDS = 60.0
"""How long a merged part stays, for readers that looked before it was merged."""
TEMPORARY_SECONDS = 3600.0
"""How old a half-written file is before it is garbage."""
_LEFT_BY_A_KILL = ("named in no manifest and left out", "the last line is torn and left out")
STRAY_SECONDS = 6 * 3600.0
"""How old a file that no manifest names is before it is garbage: time for a person to hear of it."""


@dataclass(frozen=True)
class Garbage:
    """A removable file, and why it is one."""

    path: Path
    bytes: int
    reason: str


def garbage(run_dir: Path, *, grace: float = GRACE_SECONDS) -> list[Garbage]:
    """The files of a run that can go.

    Args:
        run_dir: the run's folder.
        grace: seconds since a merge before the parts it replaced are garbage.

    Raises:
        RunNotFound, SchemaTooNew: about the run.
    """
    run_dir = Path(run_dir)
    read_run(run_dir)
    return list(_found(run_dir, read_manifest(run_dir), grace))


def collect(run_dir: Path, *, grace: float = GRACE_SECONDS) -> list[Garbage]:
    """Remove the garbage of a run; returns what is gone.

    Files are read through first: the parts of a merged file that was altered since are all there is of its rows.

    Raises:
        RunNotFound, SchemaTooNew: about the run.
        RunBusy: its files are being merged or removed by another process.
        RunUnwritable: the folder cannot be written.
    """
    gone = []
    read_run(Path(run_dir))
    with locked(Path(run_dir)):
        for item in list(_found(Path(run_dir), ManifestReader(run_dir).verify(TABLES), grace)):
            with contextlib.suppress(OSError):
                item.path.unlink()
                gone.append(item)
    return gone


def _found(run_dir: Path, manifest: Manifest, grace: float) -> Iterator[Garbage]:
    merged = {path: merge.merged for merge in manifest.merges for path in merge.replaces}
    for path in sorted(manifest.replaced):
        if _seconds_since(merged[path]) >= grace:
            yield from _if_there(path, "merged into a larger file")
    if manifest.running or _is_written(run_dir):
        return
    if any(not problem.endswith(_LEFT_BY_A_KILL) for problem in manifest.problems):
        return  # something is missing, and this may be it
    sizes = {path.name: path.stat().st_size for path in (run_dir / MANIFEST_FOLDER).glob("*.jsonl")}
    for table in TABLES:
        for path in stray_parts(run_dir / table, manifest.named, sizes):
            if _age(path) >= STRAY_SECONDS:
                yield from _if_there(path, "named in no manifest")
    for folder in (run_dir, run_dir / MANIFEST_FOLDER, *(run_dir / table for table in TABLES)):
        for path in sorted(folder.glob(".*.tmp")):
            if _age(path) >= TEMPORARY_SECONDS:
                yield from _if_there(path, "half-written")


def _is_written(run_dir: Path) -> bool:
    """Whether a process holds the lock of a rank or an evaluation, and so writes the run, wherever it is seen from."""
    from ..posix import fcntl  # here, so that `simko doctor` does without

    folder = run_dir / MANIFEST_FOLDER
    for path in (*folder.glob(".lock-[0-9]*"), *folder.glob(".lock-evaluation-*")):
        with contextlib.suppress(OSError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def _age(path: Path) -> float:
    """Seconds since a file was written; none where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _if_there(path: Path, reason: str) -> Iterator[Garbage]:
    with contextlib.suppress(OSError):
        yield Garbage(path, path.lstat().st_size, reason)


def _seconds_since(moment: str) -> float:
    """Seconds since an ISO time; 0 where it is none or lies ahead, so that nothing is removed by a clock set back."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
