"""Runs jobs on worker processes, one process and one thread a job, with the libraries imported once for all of them.

Every job is a fresh process forked from a server that has imported the trainer and done nothing else, so a job starts
within a second and cannot see another one's state. A job's stdout and stderr go to its log. Whatever happens to a job,
the others go on: an error, a wrong exit code and a SIGKILL are all an `JobOutcome`. Ctrl-C interrupts the jobs as
`simko-train` is interrupted, waits for them, and is raised again; a job whose study has died interrupts itself.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver, get_context, parent_process
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Literal, NoReturn

import torch

from ...store.layout.run import now

PRELOADED = [
    "simko.cli.train",
    "simko.trainers.train",
    "simko.trainers.objectives",
    "simko.trainers.models.base_policy.build",
    "simko.store.reading.catalog",
    "transformers.models.llama.modeling_llama",
]
"""Modules that are slow to import; importing them starts no thread and reads no option of a run."""
INTERRUPTED = 130
_FIRST = "\n--- "
"""Begins a job's part of its log."""
_PATIENCE = 60.0
"""Seconds an interrupted job has to close its log."""
_TICK = 0.5


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        name: how people know it.
        call: a command: takes its arguments, returns its exit code. It must be importable by name.
        log: takes what it prints.
    """

    name: str
    call: Callable[[list[str]], int | None]
    arguments: tuple[str, ...]
    log: Path


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended.

    Attributes:
        reason: what a person should know about a failure, in a line.
        cpu_seconds: user and system time of the process and its children; None where it could not tell any more.
    """

    job: Job
    status: Literal["finished", "failed"]
    reason: str
    wall_seconds: float
    cpu_seconds: float | None


@dataclass
class Running:
    """A job's process."""

    job: Job
    process: ForkServerProcess
    receiver: connection.Connection
    began: float = field(default_factory=time.monotonic)


class Watcher:
    """Sees jobs come and go; does nothing."""

    def began(self, running: Running) -> None:
        """A job has started."""

    def ended(self, outcome: JobOutcome) -> None:
        """A job has ended."""

    def tick(self) -> None:
        """Time has passed."""


def run_jobs(jobs: Sequence[Job], workers: int, watcher: Watcher) -> None:
    """Run jobs in order, so many at a time; the watcher is told how each one ends.

    Raises:
        KeyboardInterrupt: after the running jobs were interrupted and have ended.
    """
    waiting = list(jobs)[::-1]
    running: list[Running] = []
    if waiting:
        _start_server()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                _start(waiting.pop(), running)
                watcher.began(running[-1])
            connection.wait([item.process.sentinel for item in running], timeout=_TICK)
            for item in [item for item in running if item.process.exitcode is not None]:
                running.remove(item)
                watcher.ended(_outcome(item))
            watcher.tick()
    finally:
        _interrupt(running)


def last_line(log: Path) -> str:
    """The last line of a log that is not blank; empty where there is none."""
    lines = [line.strip() for line in tail(log).splitlines()]
    return next((line for line in reversed(lines) if line), "")


def tail(log: Path, size: int = 8192) -> str:
    """The end of what the newest job has written to a log, without the line that begins it."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    _, begun, reason = ("\n" + text).rpartition(_FIRST)
    return reason.partition("\n")[2] if begun else text


def _start_server() -> None:
    """Start the process that jobs are forked from, once; it keeps the environment that it is started in."""
    get_context("forkserver").set_forkserver_preload(PRELOADED)
    settings = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore::FutureWarning"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(job: Job, running: list[Running]) -> None:
    """Start a job; it is among the running ones before it starts, so that Ctrl-C finds it at any moment."""
    context = get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, os.getcwd(), sender), name=job.name)
    running.append(Running(job, process, receiver))
    process.start()
    sender.close()
    running[-1].began = time.monotonic()  # the first one has waited for the server's imports


def _outcome(item: Running) -> JobOutcome:
    wall = time.monotonic() - item.began
    code = item.process.exitcode
    cpu = None
    with contextlib.suppress(EOFError, OSError):
        cpu = item.receiver.recv() if item.receiver.poll() else None
    item.receiver.close()
    item.process.close()
    if code == 0:
        return JobOutcome(item.job, "finished", "", wall, cpu)
    reason = last_line(item.job.log)
    if code is not None and code < 0:
        reason = f"killed by {signal.Signals(-code).name}" + (f"; its log ends: {reason}" if reason else "")
    return JobOutcome(item.job, "failed", reason or f"exit code {code}", wall, cpu)


def _interrupt(running: list[Running]) -> None:
    """Interrupt jobs and wait until they have closed their logs; whoever has no time for that interrupts again."""
    for item in running:
        _signal(item, signal.SIGINT)
    try:
        deadline = time.monotonic() + _PATIENCE
        for item in running:
            if item.process.pid is not None:
                item.process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for item in running:
            _signal(item, signal.SIGKILL)
            if item.process.pid is not None:
                item.process.join()
            item.receiver.close()


def _signal(item: Running, number: signal.Signals) -> None:
    if item.process.pid is not None and item.process.exitcode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(item.process.pid, number)


def _work(job: Job, folder: str, sender: connection.Connection) -> NoReturn:
    """The job's process."""
    os.setsid()  # a terminal's Ctrl-C reaches the study alone, which passes it on once
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _as_interrupt)
    os.chdir(folder)
    _redirect(job)
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        code = job.call(list(job.arguments)) or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        code = 1
    finally:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        with contextlib.suppress(OSError):  # the study has died
            sender.send(sum(usage.ru_utime + usage.ru_stime for usage in used))
    sys.exit(code)


def _redirect(job: Job) -> None:
    """Send everything printed, by libraries in C too, to the job's log; its first line repeats it by hand."""
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    module = f"python -m {job.call.__module__}" if job.call.__name__ == "main" else job.call.__name__
    print(f"{_FIRST[1:]}{now()} {module} {shlex.join(job.arguments)}")


def _as_interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGINT)
