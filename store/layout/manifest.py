"""The list that readers follow: which attempts a run has had and which Parquet files are finished.

`manifest/` holds one file per process (`manifest_file`) and the compactor's list of merged files (`merges`). Reading
never raises on content: what is torn, missing or foreign is named in `Manifest.problems`, and the rest is served. A
line that is being written, or a file whose line is about to be, is no problem while its writer lives.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from .manifest_file import ManifestFile, Part, damage, read_manifest_file
from .merges import MERGES_FILE, Merge, apply_merges, read_merges
from .run import MANIFEST_FOLDER
from .schema import TABLES

_PART_NAME = re.compile(r"part-(\d+)-\d+-\d+\.parquet")
_NAMED_WITHIN_SECONDS = 60.0
"""A merged file gets its line this soon, or the compactor was killed in between."""
_Stamp = tuple[int, int, int]
"""Inode, size and time of change of a file."""
_LOOK_AGAIN_SECONDS = 30.0
"""A reader that follows a run trusts a file it has found whole for this long."""


@dataclass(frozen=True)
class Attempt:
    """One start of a run, all its ranks together.

    Attributes:
        logged: whether it has written at least one roll-up; an attempt that logged nothing hides nothing.
        status: running | finished | interrupted | diverged | failed | stopped (no end line, and its process is gone).
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
    replaced: set[Path] = field(default_factory=set)
    """Files that have gone into merged ones."""
    written: list[Part] = field(default_factory=list)
    """Every file the writers name, also those replaced, missing or torn."""
    merges: list[Merge] = field(default_factory=list)

    @property
    def named(self) -> set[Path]:
        """Every file that is or was part of the run."""
        return {part.path for part in self.written} | {merge.part.path for merge in self.merges}

    @property
    def running(self) -> bool:
        """Whether a process is writing the run."""
        return any(attempt.status == "running" for attempt in self.attempts)


class ManifestReader:
    """Follows the manifests of one run: what has not changed since the last reading is not read again."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = Path(run_dir)
        self._files: dict[str, tuple[_Stamp, ManifestFile | list[str]]] = {}
        self._whole: dict[Path, tuple[int, float]] = {}
        self._settled: tuple[object, float, Manifest] | None = None

    def read(self) -> Manifest:
        """Read the manifests and check that the files they name are there and whole.

        The very same object is given again as long as nothing has changed, no process is writing the run, and its
        files were looked at lately.
        """
        stamps = self._stamps()
        if self._settled is not None:
            seen, when, manifest = self._settled
            if seen == stamps and time.monotonic() - when < _LOOK_AGAIN_SECONDS:
                return manifest
        manifest = self._read(stamps)
        settled = not manifest.running and not manifest.problems
        self._settled = (stamps, time.monotonic(), manifest) if settled else None
        return manifest

    def _read(self, stamps: dict[str, _Stamp]) -> Manifest:
        manifest = Manifest()
        writers: dict[int, list[ManifestFile]] = {}
        for file in self._manifest_files(stamps):
            if isinstance(file, list):
                manifest.problems += file
                continue
            writers.setdefault(file.attempt, []).append(file)
            manifest.written += file.parts
            manifest.problems += file.problems
            if file.torn and not file.alive():
                manifest.problems.append(f"{file.path}: the last line is torn and left out")
        manifest.merges, problems = read_merges(self._run_dir)
        counting, manifest.replaced, broken = apply_merges(manifest.written, manifest.merges)
        manifest.problems += [*problems, *broken]
        manifest.parts = [part for part in counting if self._is_whole(part, manifest.problems)]
        logged = {part.attempt for part in manifest.parts if part.table == "rollups"}
        manifest.attempts = [_attempt(files, number in logged) for number, files in sorted(writers.items())]
        if not manifest.running:
            manifest.problems += _strays(self._run_dir, manifest.named, newest=max(writers, default=0))
        return manifest

    def _stamps(self) -> dict[str, _Stamp]:
        """Name of each file of the manifest's folder → what changes when it does."""
        try:
            with os.scandir(self._run_dir / MANIFEST_FOLDER) as entries:
                files = sorted((entry for entry in entries if entry.name.endswith(".jsonl")), key=lambda e: e.name)
                return {entry.name: _stamp(entry) for entry in files}
        except OSError:
            return {}

    def _manifest_files(self, stamps: dict[str, _Stamp]) -> list[ManifestFile | list[str]]:
        """Each process's manifest, in order of attempt and rank; read on from where the last reading ended."""
        for name, stamp in stamps.items():
            before, known = self._files.get(name, (None, None))
            if before != stamp and name != MERGES_FILE:
                appended = before is not None and before[0] == stamp[0] and before[1] <= stamp[1]
                path = self._run_dir / MANIFEST_FOLDER / name
                self._files[name] = stamp, read_manifest_file(self._run_dir, path, known if appended else None)
        return [self._files[name][1] for name in stamps if name != MERGES_FILE]

    def _is_whole(self, part: Part, problems: list[str]) -> bool:
        size, looked = self._whole.get(part.path, (-1, 0.0))
        now = time.monotonic()
        if size == part.bytes and now - looked < _LOOK_AGAIN_SECONDS:
            return True
        if problem := damage(part):
            problems.append(problem)
            return False
        self._whole[part.path] = part.bytes, now
        return True


def _stamp(entry: os.DirEntry[str]) -> _Stamp:
    try:
        status = entry.stat()
    except OSError:
        return (0, -1, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def read_manifest(run_dir: Path) -> Manifest:
    """Read all manifests of a run and check that the files they name are there and whole."""
    return ManifestReader(run_dir).read()


def _strays(run_dir: Path, named: set[Path], newest: int) -> list[str]:
    """A line for each table with Parquet files that no manifest names; those of an attempt just begun are not told."""
    lines = []
    for table in TABLES:
        strays = [path.name for path in stray_parts(run_dir / table, named, newest)]
        if strays:
            more = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
            lines.append(f"{run_dir / table / strays[0]}{more}: named in no manifest and left out")
    return lines


def stray_parts(folder: Path, named: set[Path], newest: int) -> list[Path]:
    """Parquet files of a table's folder that no manifest names.

    Not those of attempts after the `newest`, nor merged ones made just now, which are named in a moment.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".parquet"))
    except OSError:
        return []
    unnamed = [folder / name for name in names if folder / name not in named]
    old = [p for p in unnamed if not ((match := _PART_NAME.fullmatch(p.name)) and int(match[1]) > newest)]
    return [p for p in old if not (p.name.startswith("merged-") and _age(p) < _NAMED_WITHIN_SECONDS)]


def _age(path: Path) -> float:
    """Seconds since a file was written; none where it is gone, endless where its time lies ahead."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
    return age if age >= 0 else float("inf")


def _attempt(writers: list[ManifestFile], logged: bool) -> Attempt:
    """What the processes of one attempt say together."""
    first = min(writers, key=lambda writer: writer.rank)
    ends = [writer.end for writer in writers if writer.end is not None]
    if len(ends) < len(writers):
        status, ended = ("running" if any(writer.alive() for writer in writers) else "stopped"), None
    else:
        statuses = [end["status"] for end in ends]
        status = next((s for s in ("failed", "diverged", "interrupted") if s in statuses), statuses[0])
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
