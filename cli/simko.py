"""`simko`: run a study, ask a run's log. Each command is one thin module, imported only when it is called.

simko query "SELECT step, k, lambda_k FROM lambda_k" --runs runs/
simko study paper-laptop
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..store.errors import nearest
from .terminal.output import USER_ERROR, guarded, printable
from .terminal.parser import Parser


@dataclass(frozen=True)
class Command:
    """A command: the module beside this one, what it does in a line, and what its functions there are called.

    Attributes:
        module: has the two functions.
        doc: what the command does, in a line.
        prefix: `compact` where the module has several commands: `compact_parser` makes its options, `compact` runs it;
            otherwise `parser` and `run`.
    """

    module: str
    doc: str
    prefix: str = ""

    def parser(self) -> Parser:
        """The command's options."""
        return self._function(f"{self.prefix}_parser" if self.prefix else "parser")()

    def run(self, options: argparse.Namespace) -> int:
        """Run the command; returns the exit code."""
        return self._function(self.prefix or "run")(options)

    def _function(self, name: str) -> Callable[..., Any]:
        return getattr(import_module(f".{self.module}", __package__), name)


COMMANDS = {
    "ls": Command("ls", "every run as it stands"),
    "show": Command("show", "one run at a glance"),
    "passk": Command("passk", "pass@k beyond the group's size, estimated from training rollouts"),
    "findings": Command("findings", "what is wrong in a run, why, and what to try"),
    "diff": Command("diff", "two runs beside each other"),
    "query": Command("query", "run SQL on the logs of one run or a folder of runs"),
    "files": Command("files", "the Parquet files that count, for readers without this package"),
    "dashboard": Command("dashboard", "look at runs in the browser, also while they train"),
    "report": Command("report", "write a study or a run as one HTML file"),
    "study": Command("study", "run a study: methods x seeds x base policies"),
    "eval": Command("eval", "pass@k of checkpoints on benchmarks"),
    "score": Command("score", "Λ(k), ranks and entropy of given responses under a checkpoint"),
    "diagnose": Command("diagnose", "a tuned model against the one it started from"),
    "tasks": Command("tasks", "the tasks and benchmarks by name, and their problems as a model sees them"),
    "demo": Command("demo", "write runs to look at, without a model"),
    "compact": Command("maintenance", "merge the small files of a run", "compact"),
    "gc": Command("maintenance", "show or remove the removable files of a run", "gc"),
    "doctor": Command("maintenance", "what of the logs is whole and what was lost", "doctor"),
    "completion": Command("completion", "print the script that completes commands and runs in a shell"),
}
"""Command → where it is and what it does."""

_GENERAL = ("--help", "--version")


def usage() -> str:
    """The list of commands."""
    lines = ["usage: simko COMMAND [OPTIONS]", "", "commands:"]
    lines += [f"  {name:<10} {command.doc}" for name, command in COMMANDS.items()]
    lines += [
        "",
        "A run is given by its path, or by its name in the folder of runs: --runs, else $SIMKO_RUNS, else runs.",
    ]
    return "\n".join([*lines, "`simko COMMAND --help` tells more; `simko-train --help` is about training."])


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    if "_ARGCOMPLETE" in os.environ:
        from .completion import complete

        complete()
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in COMMANDS:
        return guarded(f"simko {name}", lambda: _run(COMMANDS[name], rest))
    return guarded("simko", lambda: _general(name))


def _run(command: Command, arguments: list[str]) -> int:
    return command.run(command.parser().parse_args(arguments))


def _general(word: str) -> int:
    """Everything but a command."""
    if word in ("-h", "--help"):
        print(usage())
        return 0
    if word == "--version":
        print(f"simko {installed_version()}")
        return 0
    kind, known = ("option", _GENERAL) if word.startswith("-") else ("command", tuple(COMMANDS))
    near = nearest(word, known)
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
    print(f"simko: no {kind} {printable(word)}; {hint}", file=sys.stderr)
    return USER_ERROR


def installed_version() -> str:
    """The version of the package."""
    try:
        return version("simko")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
