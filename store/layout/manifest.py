"""The list that readers follow: which attempts a run has had and which Parquet files are finished.

`manifest/` holds one file per process (`manifest_file`), one per evaluation beside training (`evaluation_file`) and the
compactor's list of merged files (`merges`). Reading
never raises on content: what is torn, missing or foreign is named in `Manifest.problems`, and the rest is served. A
line that is being written, or a file whose line is about to be, is no problem while its writer lives.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MeaningChanged
from .evaluation_file import EvaluationFile, is_evaluation, read_evaluation_file
from .liveness import STATES
from .manifest_file import ManifestFile, Part, altered, damage, read_manifest_file
from .meaning import changes, meaning_of
from .merges import MERGES_FILE, Merge, apply_merges, read_merges
from .omissions import lost_writers, named_twice, strays
from .run import MANIFEST_FOLDER, RUN_FILE, read_run

_Stamp = tuple[int, int, int]
"""Inode, size and time of change of a file."""
_LOOK_AGAIN_SECONDS = 30.0
"""A reader that follows a run trusts a file it has found whole for this long."""


@dataclass(frozen=True)
class Attempt:
    """One start of a run, all its ranks together.

    Attributes:
        logged: whether it has written a roll-up, as its manifest says; an attempt that logged nothing hides nothing.
        status: finished | interrupted | diverged | failed, as it ended; running | silent | unknown | stopped without
            an end (`liveness`).
        dropped: micro-batches that were scored but not logged.
        k: ranked candidates its token rows hold; None where its manifest does not say.
        last_seen: when a writer that is silent or stopped gave its last sign of life.
        meaning: what its figures mean (`meaning`); empty where its manifest does not say.
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
    meaning: Mapping[str, Any] = field(default_factory=dict)
    last_seen: str | None = None


@dataclass
class Manifest:
    """Everything the manifests of a run say."""

    attempts: list[Attempt] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    evaluations: list[EvaluationFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    replaced: set[Path] = field(default_factory=set)
    """Files that have gone into merged ones."""
    written: list[Part] = field(default_factory=list)
    """Every file the writers name, also those replaced, missing or torn."""
    merges: list[Merge] = field(default_factory=list)
    vocabulary: str | None = None
    """Checksum of the run's vocabulary; None where no writer says it."""

    @property
    def named(self) -> set[Path]:
        """Every file that is or was part of the run."""
        return {part.path for part in self.written} | {merge.part.path for merge in self.merges}

    @property
    def running(self) -> bool:
        """Whether a process may be writing the run."""
        alive = ("running", "silent", "unknown")
        return any(attempt.status in alive for attempt in self.attempts) or any(
            file.state()[0] in alive for file in self.evaluations
        )


class ManifestReader:
    """Follows the manifests of one run: what has not changed since the last reading is not read again."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = Path(run_dir)
        self._files: dict[str, tuple[_Stamp, ManifestFile | EvaluationFile | list[str]]] = {}
        self._whole: dict[Path, tuple[int, float]] = {}
        self._altered: dict[Part, str | None] = {}
        self._settled: tuple[object, float, Manifest] | None = None
        self._verified: tuple[Manifest, set[str]] | None = None

    def read(self) -> Manifest:
        """Read the manifests and check that the files they name are there and whole.

        The very same object is given again as long as nothing has changed, the processes that write the run do what
        they did, and its files were looked at lately.
        """
        stamps = self._stamps()
        if self._settled is not None:
            seen, when, manifest = self._settled
            recent = time.monotonic() - when < _LOOK_AGAIN_SECONDS
            if seen == stamps and recent and (not manifest.running or manifest.attempts == self._attempts(stamps)):
                return manifest
        manifest = self._read(stamps)
        # What an evaluation beside training does is no part of a manifest
        settled = not manifest.problems and not any(file.alive() for file in manifest.evaluations)
        self._settled = (stamps, time.monotonic(), manifest) if settled else None
        return manifest

    def _attempts(self, stamps: Collection[str]) -> list[Attempt]:
        """As their processes are now, by the manifests as they were read."""
        writers: dict[int, list[ManifestFile]] = {}
        for name in stamps:
            if name in self._files and isinstance(file := self._files[name][1], ManifestFile):
                writers.setdefault(file.attempt, []).append(file)
        return [_attempt(files) for _, files in sorted(writers.items())]

    def verify(self, tables: Collection[str], manifest: Manifest | None = None) -> Manifest:
        """Read the files of some tables to their ends, each once in the reader's life, and leave out the altered ones.

        Args:
            tables: whose files.
            manifest: what `read` has just given, which need not be read again.

        Returns:
            the manifest as `read` gives it from now on.
        """
        manifest = manifest or self.read()
        if self._verified is not None and self._verified[0] is manifest and self._verified[1] == set(tables):
            return manifest  # it names the very parts that were looked at
        new = [part for part in manifest.parts if part.table in tables and part not in self._altered]
        problems = [self.altered(part) for part in new]
        # What an altered merged file was made of is looked at as well
        if any(problems):
            return self.verify(tables)
        self._verified = manifest, set(tables)
        return manifest

    def altered(self, part: Part) -> str | None:
        """As `manifest_file.altered`, read once; an altered file is left out from then on."""
        if part not in self._altered:
            self._altered[part] = altered(part)
            if self._altered[part]:
                self._settled = None
        return self._altered[part]

    def _read(self, stamps: dict[str, _Stamp]) -> Manifest:
        manifest = Manifest()
        writers: dict[int, list[ManifestFile]] = {}
        for file in self._manifest_files(stamps):
            if isinstance(file, list):
                manifest.problems += file
                continue
            if isinstance(file, EvaluationFile):
                manifest.evaluations.append(file)
            else:
                writers.setdefault(file.attempt, []).append(file)
                manifest.vocabulary = file.vocabulary or manifest.vocabulary
            manifest.written += file.parts
            manifest.problems += file.problems
            if file.torn and not file.alive():
                manifest.problems.append(f"{file.path}: the last line is torn and left out")
            if gone := file.lines.gone():
                manifest.problems.append(f"{file.path}: {gone} line{'s' * (gone > 1)} missing")
        manifest.problems += named_twice(manifest.written)
        manifest.problems += lost_writers(self._run_dir, writers, manifest.evaluations, stamps)
        manifest.merges, problems = read_merges(self._run_dir)
        counting, manifest.replaced, broken = apply_merges(manifest.written, manifest.merges, self._damage)
        manifest.problems += [*problems, *broken]
        manifest.parts = [part for part in counting if self._is_whole(part, manifest.problems)]
        manifest.attempts = [_attempt(files) for _, files in sorted(writers.items())]
        if not manifest.running:
            manifest.problems += strays(self._run_dir, manifest.named, stamps)
        return manifest

    def _stamps(self) -> dict[str, _Stamp]:
        """Name of each file of the manifest's folder → what changes when it does."""
        try:
            with os.scandir(self._run_dir / MANIFEST_FOLDER) as entries:
                files = sorted((entry for entry in entries if entry.name.endswith(".jsonl")), key=lambda e: e.name)
                return {entry.name: _stamp(entry) for entry in files}
        except OSError:
            return {}

    def _manifest_files(self, stamps: dict[str, _Stamp]) -> list[ManifestFile | EvaluationFile | list[str]]:
        """Each process's manifest, by attempt and rank, read on from where the last reading ended; then evaluations."""
        for name, stamp in stamps.items():
            before, known = self._files.get(name, (None, None))
            if before != stamp and name != MERGES_FILE:
                appended = before is not None and before[0] == stamp[0] and before[1] <= stamp[1]
                path = self._run_dir / MANIFEST_FOLDER / name
                if is_evaluation(name):
                    self._files[name] = stamp, read_evaluation_file(self._run_dir, path)
                    continue
                begun = known if appended and not isinstance(known, EvaluationFile) else None
                self._files[name] = stamp, read_manifest_file(self._run_dir, path, begun)
        return [self._files[name][1] for name in stamps if name != MERGES_FILE]

    def _is_whole(self, part: Part, problems: list[str]) -> bool:
        if problem := self._damage(part):
            problems.append(problem)
        return problem is None

    def _damage(self, part: Part) -> str | None:
        if problem := self._altered.get(part):
            return problem
        size, looked = self._whole.get(part.path, (-1, 0.0))
        now = time.monotonic()
        if size == part.bytes and now - looked < _LOOK_AGAIN_SECONDS:
            return None
        if (problem := damage(part)) is None:
            self._whole[part.path] = part.bytes, now
        return problem


def _stamp(entry: os.DirEntry[str]) -> _Stamp:
    try:
        status = entry.stat()
    except OSError:
        return (0, -1, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def read_manifest(run_dir: Path) -> Manifest:
    """Read all manifests of a run and check that the files they name are there and whole."""
    return ManifestReader(run_dir).read()


def newest_options(run_dir: Path) -> Mapping[str, Any]:
    """The options that the newest attempt was started with; empty where its manifest does not say."""
    firsts = sorted((run_dir / MANIFEST_FOLDER).glob("[0-9]*-000.jsonl"), key=lambda path: (len(path.name), path.name))
    newest = read_manifest_file(run_dir, firsts[-1]) if firsts else []
    return newest.config if isinstance(newest, ManifestFile) else {}


def check_meaning(run_dir: Path, meaning: Mapping[str, Any]) -> None:
    """See that a run, where there is one, goes on with figures that mean what its last ones do.

    Raises:
        MeaningChanged: they would not.
    """
    if not (run_dir / RUN_FILE).exists():
        return
    logged = [attempt.meaning for attempt in read_manifest(run_dir).attempts if attempt.logged and attempt.meaning]
    before = logged[-1] if logged else meaning_of(read_run(run_dir))
    if changed := changes(before, meaning):
        raise MeaningChanged(
            f"{run_dir} would go on with figures that mean something else ({', '.join(changed)}) and curves that jump "
            "there; resume with the same options, take another name, or allow it (--probe_change true, or "
            "change_meaning of Probe.attach), and the break is shown"
        )


def _attempt(writers: list[ManifestFile]) -> Attempt:
    """What the processes of one attempt say together."""
    first = min(writers, key=lambda writer: writer.rank)
    seen = None
    ends = [writer.end for writer in writers if writer.end is not None]
    if len(ends) < len(writers):
        states = dict(writer.state() for writer in writers if writer.end is None)
        state = min(states, key=STATES.index)
        status, ended, seen = str(state), None, states[state]
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
        # Not which files are still there: rows that a later attempt has replaced stay replaced.
        any(part.table == "rollups" for writer in writers for part in writer.parts) or any(w.problems for w in writers),
        sum(writer.dropped for writer in writers),
        max((writer.k for writer in writers if writer.k is not None), default=None),
        first.meaning,
        seen,
    )
