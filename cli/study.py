"""`simko study`: many training runs, methods × seeds × base policies, on worker processes.

    simko study paper-laptop                     a shipped study by name; results in runs/paper-laptop
    simko study mine.yaml --output runs/mine     a study of your own
    simko study paper-laptop --dry-run           the table of its runs; nothing is started
    simko study paper-laptop --seeds 1 --max_steps 40 --output runs/quick

Called again, it does what is missing. A mistake is one line on stderr and exit code 2; a failed run never stops the
others and makes the exit code 1; Ctrl-C leaves readable runs and exit code 130.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..store.errors import UsageError
from ..store.extras import require
from .terminal.output import INTERRUPTED
from .terminal.parser import Parser
from .terminal.run_addresses import default_runs

if TYPE_CHECKING:
    from ..trainers.study.plan import Plan


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko study", description="Run a study: methods x seeds x base policies.")
    parser.add_argument("study", nargs="?", help="a shipped study's name (--list) or a YAML file's path")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="the study's folder (default: in the folder of runs)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="runs at a time, one thread each (default: CPU cores)")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the runs, start nothing")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="only these of the study's seeds")
    parser.add_argument("--max_steps", type=int, metavar="N", help="optimizer steps of every run")
    parser.add_argument("--list", action="store_true", help="the shipped studies")
    parser.add_argument("--all", action="store_true", help="every column of the table of runs, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: an option or the study is wrong, or its folder is not usable.
    """
    require("torch", "trl", "transformers", "accelerate", "datasets", "yaml", extra="train")
    from ..trainers.study.specification import load, shipped

    if options.list:
        for name, description in shipped().items():
            print(f"{name:<14} {description}")
        return 0
    if options.study is None:
        raise UsageError("name a study, or see `simko study --list`")
    study = load(options.study)
    output = options.output or default_runs() / study.name
    print(f"loading torch and TRL: study {study.name}, folder {output}", flush=True)
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' plans for their own next versions

    from ..trainers.study.execution import check_workers, execute
    from ..trainers.study.plan import Plan
    from .train import main as train

    workers = (os.cpu_count() or 1) if options.workers is None else options.workers
    check_workers(workers)
    plan = Plan(study, output, seeds=options.seeds, max_steps=options.max_steps)
    if options.dry_run:
        _print_plan(plan, everything=options.all)
        return 0
    try:
        failures = execute(plan, train, workers)
    except KeyboardInterrupt:
        print(f"\nsimko study: interrupted; the same command continues {output}", file=sys.stderr)
        return INTERRUPTED
    for failure in failures:
        log = f" (log: {failure.log})" if failure.log else ""
        print(f"simko study: {failure.run}: {failure.reason}{log}", file=sys.stderr)
    if failures:
        print(f"simko study: missing: {len(failures)}; the same command tries again", file=sys.stderr)
        return 1
    _report(plan)
    return 0


def _report(plan: Plan) -> None:
    """What two runs of one seed came to; a larger study has a report of its own."""
    from ..trainers.study.selection import choices
    from .terminal.next_commands import installed_command, quoted

    runs = plan.compared(choices(plan)[0])
    if len(runs) == 2 and runs[0].seed == runs[1].seed:
        from .terminal.side_by_side import print_side_by_side

        print_side_by_side(runs[0].folder, runs[1].folder, (runs[0].label, runs[1].label))
        return
    print(f"study folder: {plan.output}")
    print(f"tables and figures: {quoted(installed_command('simko'))} report {quoted(str(plan.output))}")


def _print_plan(plan: Plan, *, everything: bool) -> None:
    from ..trainers.study.execution import missing_bases
    from ..trainers.study.folders import check_folder, checked_state
    from ..trainers.study.selection import choices
    from .terminal.tables import Column, Table

    check_folder(plan.output, plan.study.name)
    chosen, _ = choices(plan)
    runs = plan.all(chosen)
    states = [checked_state(run) for run in runs]
    table = Table(
        Column("name"),
        Column("role", importance=1),
        Column("method", importance=3),
        Column("base", importance=1),
        Column("seed", numeric=True, importance=1),
        Column("options", wraps=True, importance=2),
        Column("state", importance=4),
    )
    bases = missing_bases(plan, runs)
    for seed in bases:
        table.add(f"base-{plan.study.task}-{seed}", "base", "", "", seed, "", "to do")
    for run, state in zip(runs, states, strict=True):
        settings = (f"{name}={'?' if name in run.unchosen else value}" for name, value in run.options.items())
        table.add(run.name, run.role, run.method, run.base, run.seed, " ".join(settings), state)
    table.print(everything=everything)
    done = states.count("done")
    print(f"{len(runs)} runs: {done} done, {len(runs) - done} to do; {len(bases)} base policies to build")
