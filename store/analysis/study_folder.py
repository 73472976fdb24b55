"""A study's folder: which runs were planned, which of them are there, and one catalog over all.

`study.json` names every run that is compared and every control, whether it has been made or not; a run counts when its
newest attempt is `finished`. Any other is missing, with the reason its log ends with.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import RunNotFound, StudyNotFound
from ..layout.manifest import read_manifest
from ..layout.manifest_file import DAMAGED
from ..layout.regular_files import open_regular, read_regular
from ..layout.run import LARGEST_RUN_FILE
from ..reading.catalog import Catalog

STUDY_FILE = "study.json"
LOG_FOLDER = "logs"
_END_BYTES = 1 << 16
"""The reason of a failed run is in this much of the end of its log."""


@dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Attributes:
        run: folder's name.
        label: what it is called in tables; runs of one label differ by seed alone.
        method: the training method.
        role: `compare`, or `frontier` for the reference method at another learning rate.
        seed: of the run.
        base: the base policy it started from.
        learning_rate_scale: times the study's learning rate.
        options: what it was started with.
    """

    run: str
    label: str
    method: str
    role: str
    seed: int
    base: str = ""
    learning_rate_scale: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Study:
    """A study and its runs behind one connection; a context manager.

    Attributes:
        folder: of the study.
        name, description, task: as planned.
        selected: options chosen on validation problems, by label (`shared` for all).
        selection_scores: what they were chosen by.
        runs: finished ones, in the order planned.
        missing: planned run → why it is not there.
        catalog: over the finished runs.
    """

    folder: Path
    name: str
    description: str
    task: str
    selected: dict[str, Any]
    selection_scores: list[dict[str, Any]]
    runs: list[StudyRun]
    missing: dict[str, str]
    catalog: Catalog

    @property
    def labels(self) -> list[str]:
        """Labels that are compared, in the order planned."""
        return list(dict.fromkeys(run.label for run in self.runs if run.role == "compare"))

    def compared(self, label: str) -> dict[int, StudyRun]:
        """Seed → run of a label."""
        return {run.seed: run for run in self.runs if run.role == "compare" and run.label == label}

    def label_of(self, method: str) -> str | None:
        """The first label of a method, None where no run of it finished."""
        return next((run.label for run in self.runs if run.role == "compare" and run.method == method), None)

    def frame(self, sql: str, *parameters: Any) -> Any:
        """Rows of a query over the study's runs, as a data frame."""
        return self.catalog.connection.execute(sql, list(parameters)).df()

    def close(self) -> None:
        """Let go of the connection."""
        self.catalog.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_study(folder: str | Path) -> bool:
    """Whether a folder holds a study."""
    return (Path(folder) / STUDY_FILE).is_file()


def open_study(folder: str | Path) -> Study:
    """Read a study's plan and open the runs that finished.

    Raises:
        StudyNotFound: no readable `study.json` there.
    """
    folder = Path(folder)
    try:
        plan = json.loads(read_regular(folder / STUDY_FILE, LARGEST_RUN_FILE))
        planned = [_planned(entry) for entry in plan["runs"]]
    except OSError as error:
        raise StudyNotFound(
            f"no study at {folder} ({STUDY_FILE}: {error.strerror}); make one with `simko study`"
        ) from error
    except DAMAGED as error:
        raise StudyNotFound(f"{folder / STUDY_FILE} is damaged; run `simko study` again with this --output") from error
    missing = {run.run: reason for run in planned if (reason := _why_missing(folder, run.run)) is not None}
    there = [run for run in planned if run.run not in missing]
    return Study(
        folder=folder,
        name=str(plan.get("study", folder.name)),
        description=str(plan.get("description", "")),
        task=str(plan.get("task", "")),
        selected=dict(plan.get("selected") or {}),
        selection_scores=list(plan.get("selection_scores") or []),
        runs=there,
        missing=missing,
        catalog=_held(Catalog([folder / run.run for run in there])),
    )


def _held(catalog: Catalog) -> Catalog:
    """The catalog with its small tables in memory: every table and figure of a study asks them again."""
    catalog.leave_out_damaged_sums()
    for table in ("rollups", "evals"):
        catalog.connection.execute(f"CREATE TABLE held_{table} AS FROM all_{table}")
        catalog.connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS FROM held_{table}")
    return catalog


def _planned(entry: dict[str, Any]) -> StudyRun:
    known = {name: entry[name] for name in StudyRun.__dataclass_fields__ if name in entry}
    return StudyRun(**known)


def _why_missing(folder: Path, run: str) -> str | None:
    """None for a finished run, else in a few words what became of it."""
    try:
        attempts = read_manifest(folder / run).attempts
    except (OSError, RunNotFound):
        attempts = []
    if not attempts:
        return _last_words(folder, run) or "not started"
    status = max(attempts, key=lambda attempt: attempt.attempt).status
    if status == "finished":
        return None
    words = _last_words(folder, run) if status == "failed" else ""
    return f"{status}: {words}" if words else status


def _last_words(folder: Path, run: str) -> str:
    try:
        with open_regular(folder / LOG_FOLDER / f"{run}.log") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_BYTES))
            lines = file.read(_END_BYTES).decode(errors="replace").splitlines()
    except (OSError, ValueError):
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
