"""Does what a study's plan asks for: base policies, the shared grid, the entries' grids, then what is compared.

Each stage takes what the stages before it have chosen. A job that fails stops nothing but what waits for it: runs on a
base policy that could not be built, and runs whose options cannot be chosen because their grid has a gap. Calling the
study again does what is missing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ...store.errors import UsageError
from .bases import base_folder, build_base, is_complete
from .folders import checked_state, claimed, discard
from .plan import Plan, PlannedRun
from .record import append_timing, write_record
from .selection import choices
from .study_progress import StudyProgress
from .workers import Job, JobOutcome, Running, Watcher, run_jobs

Train = Callable[[list[str]], int]


@dataclass(frozen=True)
class Failure:
    """A run that is not there when the study ends.

    Attributes:
        log: what it printed; None where it was not started.
    """

    run: str
    reason: str
    log: Path | None


def execute(plan: Plan, train: Train, workers: int) -> list[Failure]:
    """Do every run of a plan that is not done yet.

    Args:
        plan: the runs.
        train: the command `simko-train`.
        workers: runs at a time.

    Returns:
        What failed.

    Raises:
        SimkoError: the folder is not the study's, or holds a run with other options; what was started is complete.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; the running runs have closed their logs.
    """
    with claimed(plan.output, plan.study.name), _sigterm_as_interrupt():
        chosen, scores = choices(plan)
        runs = plan.all(chosen)
        done = [run for run in runs if checked_state(run) == "done"]
        bases = missing_bases(plan, runs)
        write_record(plan, chosen, scores)
        with StudyProgress(len(runs) - len(done) + len(bases), len(done), workers) as progress:
            execution = _Execution(plan, train, workers, progress)
            execution.build(bases)
            for stage in plan.stages():
                execution.train([run for label in stage for run in plan.search(label, chosen)])
                chosen, scores = choices(plan)
                write_record(plan, chosen, scores)
            # Seed by seed: a study that is cut short has compared something.
            execution.train(sorted(plan.compared(chosen), key=lambda run: plan.study.seeds.index(run.seed)))
        return execution.failures


def missing_bases(plan: Plan, runs: Sequence[PlannedRun]) -> list[int]:
    """Seeds of the base policies to build: those that a run which is not done starts from."""
    seeds = {run.base_seed for run in runs if run.base_seed and checked_state(run) != "done"}
    return sorted(seed for seed in seeds if not is_complete(base_folder(plan.output, plan.study.task, seed)))


class _Execution(Watcher):
    """The stages of a study; keeps what failed."""

    def __init__(self, plan: Plan, train: Train, workers: int, progress: StudyProgress) -> None:
        self._plan, self._train, self._workers, self._progress = plan, train, workers, progress
        self.failures: list[Failure] = []

    def began(self, running: Running) -> None:
        """Pass it on."""
        self._progress.began(running)

    def ended(self, outcome: JobOutcome) -> None:
        """Note how a job ended."""
        append_timing(self._plan.output, outcome)
        if outcome.status == "failed":
            self.failures.append(Failure(outcome.job.name, outcome.reason, outcome.job.log))
        self._progress.ended(outcome)

    def tick(self) -> None:
        """Pass it on."""
        self._progress.tick()

    def build(self, seeds: Sequence[int]) -> None:
        """Build base policies."""
        jobs = []
        for seed in seeds:
            folder = base_folder(self._plan.output, self._plan.study.task, seed)
            folder.parent.mkdir(exist_ok=True)
            if folder.exists():
                discard(folder, self._plan.output)
            jobs.append(
                Job(
                    f"base-{folder.name}",
                    build_base,
                    (str(folder), self._plan.study.task, str(seed)),
                    self._log(folder.name),
                )
            )
        run_jobs(jobs, self._workers, self)

    def train(self, runs: Sequence[PlannedRun]) -> None:
        """Do the runs of a stage that are not done."""
        jobs = []
        for run in runs:
            state = checked_state(run)
            if state == "done":
                continue
            if obstacle := self._obstacle(run, state):
                self.failures.append(Failure(run.name, obstacle, None))
                continue
            arguments = run.arguments
            if state == "to continue":
                arguments += ("--resume", str(run.folder))
            elif state == "to restart":
                discard(run.folder, self._plan.output)
            jobs.append(Job(run.name, self._train, arguments, self._log(run.name)))
        run_jobs(jobs, self._workers, self)

    def _obstacle(self, run: PlannedRun, state: str) -> str | None:
        """Why a run cannot be started."""
        if state == "busy":
            return f"another process is writing {run.folder}; wait for it, or end it"
        if run.unchosen:
            return f"not started: {', '.join(run.unchosen)} cannot be chosen before every selection run has finished"
        if run.base_seed and not is_complete(base_folder(self._plan.output, self._plan.study.task, run.base_seed)):
            return f"not started: its base policy {run.base} could not be built"
        return None

    def _log(self, name: str) -> Path:
        return self._plan.output / "logs" / f"{name}.log"


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM is treated like Ctrl-C, where signals can be taken."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _as_interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def check_workers(workers: int) -> None:
    """Refuse a number of workers that can do nothing.

    Raises:
        UsageError: saying so.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers} must be at least 1")
