"""`simko findings`: what is wrong in a run, why, and what to try.

    simko findings grpo-short
    simko findings runs/study --format json
    simko findings grpo-short --rule entropy-collapse --rule nonfinite-tokens
    simko findings grpo-short --watch 60 --on-fire 'notify-send simko'

Exit codes: 0 nothing fired, 1 a warning fired, 4 something critical fired, 5 no rule could be judged, 2 a user error.
Writes nothing, but for `--write`: changes of state go to `findings.jsonl` in the run's folder. The command of
`--on-fire` gets what fired in its environment: SIMKO_RUN, SIMKO_RUN_DIR, SIMKO_RULE, SIMKO_SEVERITY, SIMKO_TITLE,
SIMKO_EVIDENCE, SIMKO_ADVICE and SIMKO_FINDING (JSON).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..store.errors import RunNotFound, UsageError
from .terminal.output import printable
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, is_run, run_names, runs_of

if TYPE_CHECKING:
    from ..store.analysis.findings.rule import Rule
    from .terminal.findings_text import Look

_CODES = {"critical": 4, "warning": 1}
NOTHING_JUDGED = 5
"""Exit code where every rule was skipped: no news, neither good nor bad."""


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko findings", description="What is wrong in a run, why, and what to try.")
    parser.add_argument("folder", nargs="+", metavar="run", help="a run or a folder of runs, by name or path")
    add_runs_option(parser)
    parser.add_argument("--rule", action="append", default=[], metavar="NAME", help="this rule alone; may be repeated")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text (default) or json")
    parser.add_argument("--write", action="store_true", help="append changes of state to findings.jsonl of each run")
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="look again and again, until no run is being written any more"
    )
    parser.add_argument(
        "--on-fire", metavar="COMMAND", help="run it once for each rule that newly fires, told by environment variables"
    )
    parser.add_argument("--webhook", metavar="URL", help="POST each rule that newly fires as JSON")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: there is no such run or rule, or an option is malformed.
    """
    if options.watch is not None and not 0 < options.watch < float("inf"):
        raise UsageError(f"--watch {options.watch:g}: give seconds above 0")
    from ..store.analysis.findings.registry import chosen_rules
    from .terminal.finding_hooks import hooks

    rules = chosen_rules(options.rule)
    called = hooks(options.on_fire, options.webhook)
    folders = _folders(options.folder, runs_of(options))
    try:
        return _look(folders, rules, options, called)
    except KeyboardInterrupt:
        if options.watch is None:
            raise
        return 130


def _folders(addresses: Sequence[str], runs: Path) -> list[Path]:
    """The folders of the runs that were asked for.

    Raises:
        RunNotFound: a folder holds none.
    """
    folders = []
    for address in addresses:
        folder = find_run(address, runs)
        inside = [folder] if is_run(folder) else [folder / name for name in run_names(folder)]
        if not folder.is_dir():
            raise RunNotFound(f"no folder {folder}; give the folder of a run, or one that holds runs")
        if not inside:
            raise RunNotFound(f"{folder} holds no runs; `simko ls` lists runs")
        folders += inside
    return list(dict.fromkeys(folders))


def _look(
    folders: Sequence[Path], rules: Sequence[Rule], options: argparse.Namespace, called: Sequence[Callable[..., None]]
) -> int:
    """Look once, or until no run is being written; returns the exit code of the last look."""
    from ..store.writing.findings_file import append_changes, last_states
    from .terminal.findings_text import as_json, look_at, print_changes, print_look

    known = {folder: last_states(folder) if options.write else {} for folder in folders}
    first = True
    while True:
        looks = [look_at(folder, rules) for folder in folders]
        for problem in dict.fromkeys(problem for look in looks for problem in look.problems) if first else ():
            print(f"warning: {printable(problem)}", file=sys.stderr)
        before = known
        known = {look.folder: before[look.folder] | look.states for look in looks}
        if options.format == "json":
            if first or any(known[folder] != before[folder] for folder in folders):
                print(as_json(looks), flush=True)
        else:
            for look in looks:
                print_look(look) if first else print_changes(look, before[look.folder])
        for look in looks:
            if options.write:
                append_changes(look.folder, (finding.as_dict() for finding in look.findings))
            for finding in look.fired:
                if before[look.folder].get(finding.rule.name) != "fired":
                    for hook in called:
                        hook(look.folder, finding)
        if options.watch is None or not any(look.running for look in looks):
            return _exit_code(looks)
        first = False
        time.sleep(options.watch)


def _exit_code(looks: Sequence[Look]) -> int:
    severities = {finding.rule.severity for look in looks for finding in look.fired}
    for severity, code in _CODES.items():
        if severity in severities:
            return code
    judged = any(finding.state != "skipped" for look in looks for finding in look.findings)
    return 0 if judged else NOTHING_JUDGED
