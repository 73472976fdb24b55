"""`simko`: run a study, ask a run's log. Each sub-command is one thin module, imported only when it is called.

simko query "SELECT step, k, lambda_k FROM lambda_k" --runs runs/
simko study paper-laptop
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from ..store.errors import SimkoError

COMMANDS = {
    "ls": ("runs", "ls_main", "every run as it stands"),
    "show": ("runs", "show_main", "one run at a glance"),
    "diff": ("runs", "diff_main", "two runs beside each other"),
    "query": ("query", "query_main", "run SQL on the logs of one run or a folder of runs"),
    "compact": ("maintenance", "compact_main", "merge the small files of a run"),
    "gc": ("maintenance", "gc_main", "show or remove files of a run nobody needs"),
    "doctor": ("maintenance", "doctor_main", "what of the logs is whole and what was lost"),
    "demo": ("demo", "demo_main", "write runs to look at, without a model"),
    "report": ("report", "report_main", "write a study or a run as one HTML file"),
    "study": ("study", "study_main", "run a study: methods x seeds x base policies"),
}
"""Sub-command → (module beside this one, function, what it does in a line)."""


def usage() -> str:
    """The list of sub-commands."""
    lines = ["usage: simko COMMAND [OPTIONS]", "", "commands:"]
    lines += [f"  {name:<10} {doc}" for name, (_, _, doc) in COMMANDS.items()]
    return "\n".join([*lines, "", "`simko COMMAND --help` tells more; `simko-train --help` is about training."])


def main(argv: list[str] | None = None) -> int:
    """Run a sub-command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"simko: no command {name}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module, function, _ = COMMANDS[name]
    try:
        return int(getattr(import_module(f".{module}", __package__), function)(rest))
    except SimkoError as error:
        print(f"simko {name}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `simko query … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
