"""The project's programs in processes that are forked from one which has imported the libraries.

To import torch and TRL takes seconds of every start, and here they are imported once. All else is as in a start: a
process with its own arguments, folder, environment, standard streams, signals, limits and exit code. A program is a
module with a `main`, or the path of a script.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

PRELOADED = [
    "simko.cli.train",
    "simko.trainers.train",
    "simko.trainers.objectives",
    "simko.trainers.models.base_policy.build",
    "simko.store.reading.catalog",
    "simko.store.maintenance.doctor",
    "simko.cli.terminal.answers",
    "transformers.models.llama.modeling_llama",
]
"""Slow to import; importing them starts no thread, without which a fork would not be safe."""


@dataclass(frozen=True)
class Call:
    """What a process is to do, and the files its streams lead to."""

    program: str
    arguments: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    before: Callable[[], object] | None
    stdout: str
    stderr: str


class Forked:
    """A process that has been started."""

    def __init__(self, call, process, folder):
        self._call, self._process, self._folder = call, process, folder

    def poll(self):
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.exitcode

    @property
    def sentinel(self):
        """What `multiprocessing.connection.wait` waits for: ready when the process has ended."""
        return self._process.sentinel

    def send_signal(self, number):
        """Send a signal to the process."""
        os.kill(self._process.pid, number)

    def finish(self, timeout=300):
        """Wait for its end: exit code and what was printed, as of `subprocess.run`."""
        self._process.join(timeout)
        if self.poll() is None:
            self._process.kill()
            raise TimeoutError(f"{self._call.program} has run for {timeout} seconds")
        printed = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        printed = [path.read_text(encoding="utf-8") if path.exists() else "" for path in printed]
        return subprocess.CompletedProcess([self._call.program, *self._call.arguments], self.poll(), *printed)


def start(program, *arguments, cwd, environment=None, before=None, terminal=None):
    """Start a program in a folder.

    Args:
        environment: instead of that of the tests.
        before: a function that the process calls first; importable by name.
        terminal: the device to print to.
    """
    folder = tempfile.TemporaryDirectory()
    streams = (terminal, terminal) if terminal else (f"{folder.name}/stdout", f"{folder.name}/stderr")
    environment = dict(os.environ if environment is None else environment)
    call = Call(str(program), tuple(map(str, arguments)), str(cwd), environment, before, *streams)
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_become, args=(call,))
    process.start()
    return Forked(call, process, folder)


def run(program, *arguments, cwd, **settings):
    """The finished process of a program."""
    return start(program, *arguments, cwd=cwd, **settings).finish()


def _become(call):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(call.cwd)
    os.environ.clear()
    os.environ.update(call.environment)
    for number, path in enumerate((call.stdout, call.stderr), 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY, 0o644)
        os.dup2(file, number)
        os.close(file)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    if call.before is not None:
        call.before()
    sys.argv = [call.program, *call.arguments]
    if call.program.endswith(".py"):
        runpy.run_path(call.program, run_name="__main__")
    else:
        sys.exit(importlib.import_module(call.program).main())
