"""The manifest of one evaluation beside training, `manifest/evaluation-<id>.jsonl`: what is measured, what is done.

    {"kind": "evaluation", "evaluation": id, "benchmark", "step", "checkpoint", "weights", "engine", "settings": {…},
     "problems", "digest", "units", "problems_per_unit", "samples_per_unit"}                            first
    {"kind": "session", "started", "pid", "host", "namespace"}      each process that begins it or goes on with it
    {"kind": "file", "unit", "table", "path", "steps": [step, step], "rows", "bytes", "checksum", "write_ms"}
                                                                    the files of a unit, all at once
    {"kind": "end", "status", "ended"}                              last of a session: finished | interrupted | failed

An evaluation is no attempt: no attempt hides its rows, and it hides none. Its work is split into units, each a block of
problems and samples; a unit is done when its lines are there, and none is done twice. The identity is made of the
weights, the benchmark, the settings of the draws and the seed, so the same evaluation asked for again is this one.
Lines are sealed as those of attempts are (`checksums`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .checksums import SealedLines
from .liveness import state_of
from .manifest_file import DAMAGED, LARGEST_MANIFEST, Part, part_of, whole
from .regular_files import read_regular

_NAME = re.compile(r"evaluation-([0-9a-f]{12})\.jsonl")


def is_evaluation(name: str) -> bool:
    """Whether a file of the manifest's folder is that of an evaluation."""
    return name.startswith("evaluation-")


def evaluation_path(folder: Path, evaluation: str) -> Path:
    """The manifest of an evaluation."""
    return folder / f"evaluation-{evaluation}.jsonl"


@dataclass
class EvaluationFile:
    """What an evaluation has written about itself.

    Attributes:
        header: its first line.
        settings: how responses are drawn: samples, temperature, top_p, max_tokens, seed, ….
        units: how many there are.
        done: those whose counts are there.
        parts: finished files, in order, not looked at yet.
        session: the newest session's line.
        end: how that session ended; None while it has not.
        torn: whether the file ends in half a line.
        problems: one line per damaged entry.
        lines: the lines read.
    """

    path: Path
    evaluation: str
    benchmark: str
    step: int
    settings: Mapping[str, Any]
    units: int
    header: Mapping[str, Any]
    lines: SealedLines
    started: str | None = None
    session: Mapping[str, Any] = field(default_factory=dict)
    end: Mapping[str, Any] | None = None
    done: set[int] = field(default_factory=set)
    parts: list[Part] = field(default_factory=list)
    torn: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every unit is done."""
        return len(self.done) == self.units

    def alive(self) -> bool:
        """Whether its process may still be writing."""
        return self.state()[0] in ("running", "silent", "unknown")

    def state(self) -> tuple[str, str | None]:
        """As its newest session ended, or whether that is there (`liveness`), and when it was last seen if not."""
        if self.end is not None:
            return str(self.end["status"]), None
        about = self.session
        return state_of(
            self.path, pid=int(about.get("pid", 0)), host=str(about.get("host")), namespace=about.get("namespace", "")
        )


def read_evaluation_file(run_dir: Path, path: Path) -> EvaluationFile | list[str]:
    """Read an evaluation's manifest, or say in lines (none: it is being begun) why it cannot be told what it is."""
    try:
        *lines, rest = read_regular(path, LARGEST_MANIFEST).split(b"\n")
    except OSError as error:
        return [f"{path}: {error.strerror}; the files it names are left out"]
    if not lines:
        return []
    sealed = SealedLines(path.name.encode())
    try:
        result = _begun(path, sealed.take(lines[0]), sealed)
    except DAMAGED:
        return [f"{path}: the first line is not the evaluation's; the files it names are left out"]
    files: dict[tuple[int, str], Part] = {}
    for line in lines[1:]:
        try:
            _take(run_dir, result, sealed.take(line), files)
        except DAMAGED:
            result.problems.append(f"{path}: line {sealed.number} is damaged and left out")
    result.torn = bool(rest)
    result.done = {unit for unit, table in files if table == "evals"}
    result.parts = list(files.values())
    return result


def _take(run_dir: Path, result: EvaluationFile, entry: Mapping[str, Any], files: dict[tuple[int, str], Part]) -> None:
    """Take in a line after the first.

    Raises:
        any of `DAMAGED`: it is no line of an evaluation.
    """
    if entry["kind"] == "file":
        unit = whole(entry["unit"])
        part = part_of(run_dir, 0, 0, entry, result.evaluation)
        if part is None or unit >= result.units:
            result.problems.append(f"{result.path}: {entry['path']!r} is no table of this evaluation and left out")
        else:  # done again, where a damaged line made it seem undone: under the same name, and so instead
            files[unit, part.table] = part
    elif entry["kind"] == "session":
        result.session, result.end = entry, None
        result.started = result.started or str(entry.get("started"))
    elif entry["kind"] == "end":
        result.end = {"status": str(entry["status"]), "ended": str(entry.get("ended"))}


def _begun(path: Path, entry: Mapping[str, Any], lines: SealedLines) -> EvaluationFile:
    """From the first line.

    Raises:
        KeyError, TypeError, ValueError: it is no such line.
    """
    name = _NAME.fullmatch(path.name)
    if entry["kind"] != "evaluation" or name is None or entry["evaluation"] != name[1]:
        raise ValueError
    return EvaluationFile(
        path,
        name[1],
        str(entry["benchmark"]),
        whole(entry["step"]),
        dict(entry["settings"]),
        whole(entry["units"]),
        entry,
        lines,
    )
