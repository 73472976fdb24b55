"""Which parts of a run have been merged into larger ones: `manifest/merges.jsonl`, appended by the compactor alone.

    {"kind": "merge", "table", "path", "attempt", "rank", "steps": [first, last], "rows", "bytes",
     "replaces": [path, …], "merged": ISO time}

A line is what makes the change, at once for every reader: before it the parts it replaces count, after it the merged
file. A merged file may be merged again. The parts stay on disk until they are collected (`garbage`), so a reader that
looked before the line was written still finds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .manifest_file import DAMAGED, LARGEST_MANIFEST, Part, damage, part_of, whole
from .regular_files import read_regular
from .run import MANIFEST_FOLDER

MERGES_FILE = "merges.jsonl"


@dataclass(frozen=True)
class Merge:
    """One merged file and what it replaces; `merged` is when, ISO 8601 UTC."""

    part: Part
    replaces: tuple[Path, ...]
    merged: str


def read_merges(run_dir: Path) -> tuple[list[Merge], list[str]]:
    """The merges in order, and a line about each damaged entry."""
    path = run_dir / MANIFEST_FOLDER / MERGES_FILE
    try:
        *lines, _unfinished = read_regular(path, LARGEST_MANIFEST).split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{path}: {error.strerror}; the parts as they were written are read instead"]
    merges: list[Merge] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            merges.append(_merge(run_dir, json.loads(line)))
        except DAMAGED:
            problems.append(f"{path}: line {number} is damaged and left out")
    return merges, problems


def _merge(run_dir: Path, entry: Mapping[str, Any]) -> Merge:
    """From a line.

    Raises:
        KeyError, TypeError, ValueError, IndexError: it is no such line.
    """
    part = part_of(run_dir, whole(entry["attempt"]), whole(entry["rank"]), entry)
    if entry["kind"] != "merge" or part is None or not all(isinstance(path, str) for path in entry["replaces"]):
        raise ValueError
    return Merge(part, tuple(run_dir / path for path in entry["replaces"]), str(entry.get("merged")))


def apply_merges(parts: Sequence[Part], merges: Sequence[Merge]) -> tuple[list[Part], set[Path], list[str]]:
    """The parts that count.

    A merged file that is missing or torn does not count: what it replaced is read again, as far as it is still there.

    Returns:
        parts, merged files in the place of the first part they replace; the paths replaced, which are
        removable; one line per merged file that cannot be read.
    """
    if not merges:
        return list(parts), set(), []
    into: dict[Path, Part] = {}
    problems: list[str] = []
    for merge in reversed(merges):
        target = into.get(merge.part.path, merge.part)  # it may have been merged again
        if target is merge.part and (problem := damage(merge.part)):
            problems.append(f"{problem.rpartition(';')[0]}; the parts it was made of are read instead")
            continue
        into.update(dict.fromkeys(merge.replaces, target))
    counting = {(into.get(part.path) or part).path: into.get(part.path) or part for part in parts}
    return list(counting.values()), set(into), problems
