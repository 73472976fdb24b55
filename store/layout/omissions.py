"""What is missing from the manifests of a run: attempts and processes without one, lines, files that none names.

Everything here is a line of text for `Manifest.problems`, or the files themselves for `simko gc`.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .evaluation_file import EvaluationFile
from .manifest_file import ManifestFile, Part
from .run import MANIFEST_FOLDER
from .schema import TABLES

_PART_NAME = re.compile(r"part-(\d+-\d+|evaluation-[0-9a-f]{12})-\d+\.parquet")
_NAMED_WITHIN_SECONDS = 60.0
"""A merged file gets its line this soon, or the compactor was killed in between."""


def named_twice(parts: Sequence[Part]) -> list[str]:
    """A line for each file that more than one line names; it counts once."""
    return [f"{path}: named {n} times, counted once" for path, n in Counter(p.path for p in parts).items() if n > 1]


def lost_writers(
    run_dir: Path,
    writers: Mapping[int, Sequence[ManifestFile]],
    evaluations: Sequence[EvaluationFile],
    names: Collection[str],
) -> list[str]:
    """A line for each attempt, process or evaluation that has written and whose manifest is gone or cut short."""
    folder = run_dir / MANIFEST_FOLDER
    vouched = {name for files in writers.values() for file in files for name in file.earlier}
    lines = [
        f"{folder}: attempt {number} has left no manifest; its files are left out"
        for number in range(1, max(writers, default=0))
        if not any(name.startswith(f"{number:03d}-") for name in [*names, *vouched])
    ]
    known: dict[str, ManifestFile | EvaluationFile] = {file.path.name: file for file in evaluations}
    known |= {file.path.name: file for files in writers.values() for file in files}
    for number, files in writers.items():
        missing = sorted(set(range(files[0].world_size)) - {file.rank for file in files})
        missing = [rank for rank in missing if f"{number:03d}-{rank:03d}.jsonl" not in names]
        if missing and not any(file.alive() for file in files):
            some = ", ".join(map(str, missing[:5])) + " …" * (len(missing) > 5)
            lines.append(
                f"{folder}: attempt {number} had {files[0].world_size} processes, none of rank {some} is there"
            )
        for name, count in files[0].earlier.items():
            there = known[name].lines.number + known[name].lines.gone() if name in known else 0
            if name in known and there < count:
                short = count - there
                lines.append(f"{folder / name}: cut short, {short} of its {count} lines missing")
            elif name not in names:
                lines.append(f"{folder / name}: gone, with {count} lines; the files it named are left out")
    return lines


def strays(run_dir: Path, named: set[Path], stamps: Mapping[str, tuple[int, int, int]]) -> list[str]:
    """A line for each table with Parquet files that no manifest names.

    Args:
        run_dir: the run's folder.
        named: the files that are named.
        stamps: the manifests when they were read: the size of each is second.
    """
    lines = []
    sizes = {name: size for name, (_, size, _) in stamps.items()}
    for table in TABLES:
        unnamed = [path.name for path in stray_parts(run_dir / table, named, sizes)]
        if unnamed:
            more = f" and {len(unnamed) - 1} more" if len(unnamed) > 1 else ""
            lines.append(f"{run_dir / table / unnamed[0]}{more}: named in no manifest and left out")
    return lines


def stray_parts(folder: Path, named: set[Path], sizes: Mapping[str, int]) -> list[Path]:
    """Parquet files of a table's folder that no manifest names.

    Not those whose manifest has grown since it was read, which may name them by now, nor merged ones made just now.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".parquet"))
    except OSError:
        return []
    texts = {str(path) for path in named}
    # Paths are dear where there are thousands of files.
    unnamed = [folder / name for name in names if f"{folder}/{name}" not in texts]
    return [path for path in unnamed if path not in named and not _new(path, sizes)]


def _new(path: Path, sizes: Mapping[str, int]) -> bool:
    """Whether a file may have been made since the manifests were read."""
    if path.name.startswith("merged-"):
        return _age(path) < _NAMED_WITHIN_SECONDS
    if not (match := _PART_NAME.fullmatch(path.name)):
        return False
    manifest = path.parents[1] / MANIFEST_FOLDER / f"{match[1]}.jsonl"
    try:
        return manifest.stat().st_size > sizes.get(manifest.name, 0)
    except OSError:
        return False


def _age(path: Path) -> float:
    """Seconds since a file was written; none where it is gone, endless where its time lies ahead."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
    return age if age >= 0 else float("inf")
