"""`simko passk`: pass@k of a run beyond the size of its groups, estimated from its training rollouts.

    simko passk grpo-short
    simko passk grpo-short --windows 10 --k 8 64 1024
    simko passk grpo-short --format json

No evaluation is needed or read. The estimate is about the training problems, while they were sampled; `simko show` has
what was measured on problems held out.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..store.errors import UsageError
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, runs_of

if TYPE_CHECKING:
    from ..store.analysis.rollout_pass_at_k import RolloutWindow

NOTHING_ESTIMATED = 5
"""Exit code where no window could be estimated."""
_MOST_K = 4096


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko passk", description="pass@k estimated from a run's training rollouts.")
    parser.add_argument("run", help="the run's name or folder")
    add_runs_option(parser)
    parser.add_argument("--k", type=int, nargs="+", metavar="K", help="responses one may try (default: 8 16 … 256)")
    parser.add_argument("--windows", type=int, default=5, help="parts the run is cut into (default: 5)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text (default) or json")
    parser.add_argument("--all", action="store_true", help="every column, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: there is no such run, or an option is out of range.
    """
    if not 1 <= options.windows <= 100:
        raise UsageError(f"--windows {options.windows}: give a number from 1 to 100")
    if any(not 1 <= k <= _MOST_K for k in options.k or ()):
        raise UsageError(f"--k {' '.join(map(str, options.k))}: give numbers from 1 to {_MOST_K}")
    from ..store.analysis.rollout_pass_at_k import KS, over_training
    from .terminal.opened_runs import opened_run

    catalog, run = opened_run(find_run(options.run, runs_of(options)))
    found = over_training(catalog.connection, run.info, sorted(set(options.k or KS)), windows=options.windows)
    if options.format == "json":
        print(json.dumps([_as_json(window) for window in found]))
    else:
        _print(run.name, found, everything=options.all)
    return 0 if any(window.estimates for window in found) else NOTHING_ESTIMATED


def _as_json(window: RolloutWindow) -> dict[str, Any]:
    row = asdict(window)
    row["estimates"] = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in estimate.items()}
        for estimate in row["estimates"]
    ]
    return row


def _print(name: str, found: list[RolloutWindow], *, everything: bool) -> None:
    from .terminal.output import printable
    from .terminal.tables import Column, Table, number

    if not found:
        print(f"{printable(name)}: no rollouts in groups are logged, so nothing can be estimated")
        return
    print(f"{printable(name)}: pass@k of training problems, from rollouts alone: an estimate, not a measurement\n")
    headings = ("steps", "problems", "k", "pass@k", "90 % interval", "rollouts alone allow")
    table = Table(*(Column(heading, numeric=heading in ("problems", "k", "pass@k")) for heading in headings))
    for window in found:
        steps = f"{window.first}–{window.last}"
        for estimate in window.estimates:
            interval = "measured" if estimate.measured else f"{estimate.low:.3f} to {estimate.high:.3f}"
            allowed = "" if estimate.measured else f"{estimate.least:.3f} to {estimate.most:.3f}"
            table.add(steps, window.problems, estimate.k, number(estimate.value, 3), interval, allowed)
            steps = ""
    if table.rows:
        table.print(everything=everything)
        print(f"\n{_LEGEND}")
    for window in found:
        if window.reason:
            print(f"steps {window.first}–{window.last}: no estimate, because {window.reason}")


_LEGEND = """\
Measured: unbiased, from k responses or more per problem. Estimated: assumes that the logit of success of the problems
is spread as a mixture of two normal distributions, beside problems with no success at all; where that is wrong, so is
the interval. `rollouts alone allow` assumes nothing of that spread. Both assume that the responses to a problem are
independent draws. About training problems while they were sampled, at the training temperature: not held-out ones."""
