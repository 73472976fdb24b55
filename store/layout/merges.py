"""Which parts of a run have been merged into larger ones: `manifest/merges.jsonl`, appended by the compactor alone.

    {"kind": "merge", "table", "path", "attempt", "rank", "evaluation", "steps": [first, last], "rows", "bytes",
     "checksum", "replaces": [path, …], "merged": ISO time}

A line is what makes the change, at once for every reader: before it the parts it replaces count, after it the merged
file. A merged file may be merged again. The parts stay on disk until they are collected (`garbage`), so a reader that
looked before the line was written still finds them. Lines are sealed as those of manifests are (`checksums`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checksums import SealedLines
from .manifest_file import DAMAGED, LARGEST_MANIFEST, Part, part_of, whole
from .regular_files import read_regular
from .run import MANIFEST_FOLDER

MERGES_FILE = "merges.jsonl"


@dataclass(frozen=True)
class Merge:
    """One merged file and what it replaces.

    Attributes:
        part: the merged file.
        replaces: the files it was made of.
        merged: when, ISO 8601 UTC.
        sealed: whether its line has a checksum, and so says what was written.
    """

    part: Part
    replaces: tuple[Path, ...]
    merged: str
    sealed: bool


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
    taken = SealedLines(MERGES_FILE.encode())
    for line in lines:
        try:
            merges.append(_merge(run_dir, taken.take(line)))
        except DAMAGED:
            problems.append(f"{path}: line {taken.number} is damaged and left out")
    if gone := taken.gone():
        problems.append(f"{path}: {gone} line{'s' * (gone > 1)} missing")
    return merges, problems


def _merge(run_dir: Path, entry: Mapping[str, Any]) -> Merge:
    """From a line.

    Raises:
        KeyError, TypeError, ValueError, IndexError: it is no such line.
    """
    part = part_of(run_dir, whole(entry["attempt"]), whole(entry["rank"]), entry, entry.get("evaluation"))
    if entry["kind"] != "merge" or part is None or not all(isinstance(path, str) for path in entry["replaces"]):
        raise ValueError
    return Merge(part, tuple(run_dir / path for path in entry["replaces"]), str(entry.get("merged")), "crc" in entry)


def apply_merges(
    parts: Sequence[Part], merges: Sequence[Merge], damage: Callable[[Part], str | None]
) -> tuple[list[Part], set[Path], list[str]]:
    """The parts that count.

    A merged file that is missing or damaged does not count: what it replaced is read again, as far as it is still
    there. Nor does one whose line cannot be true: it would count rows twice.

    Args:
        parts: as the writers name them.
        merges: in order.
        damage: says what is wrong with a file, or None.

    Returns:
        parts, merged files in the place of the first part they replace; the paths replaced, which are
        removable; one line per merged file that is not read.
    """
    if not merges:
        return list(parts), set(), []
    into: dict[Path, Part] = {}
    problems: list[str] = []
    known = {part.path: part for part in parts}
    false: set[Path] = set()
    for merge in merges:
        if reason := _contradiction(merge, known):
            problems.append(f"{merge.part.path}: {reason}; the parts it was made of are read instead")
            false.add(merge.part.path)
        else:
            known[merge.part.path] = merge.part
    for merge in reversed(merges):
        if merge.part.path in false:
            continue
        target = into.get(merge.part.path, merge.part)  # it may have been merged again
        if target is merge.part and (problem := damage(merge.part)):
            problems.append(f"{problem.rpartition(';')[0]}; the parts it was made of are read instead")
            continue
        into.update(dict.fromkeys(merge.replaces, target))
    counting = {(into.get(part.path) or part).path: into.get(part.path) or part for part in parts}
    return list(counting.values()), set(into), problems


def _contradiction(merge: Merge, known: Mapping[Path, Part]) -> str | None:
    """What a merge says that the lines of the files it was made of do not, or None."""
    made_of = [known[path] for path in merge.replaces if path in known]
    if len(made_of) < len(set(merge.replaces)):
        # A sealed line is what the compactor wrote: then it is the manifest that has lost its line of a part.
        return None if merge.sealed and made_of else "it replaces files that no manifest names"
    rows = sum(part.rows for part in made_of)
    return None if rows == merge.part.rows else f"{merge.part.rows} rows made of {rows}"
