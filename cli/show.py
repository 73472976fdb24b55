"""`simko show`: one run at a glance: options, attempts, figures at start and end, cost, and what could not be read.

    simko show grpo-short

A run with damaged files is shown as far as it goes, with the damage named on stderr.
"""

from __future__ import annotations

import argparse
from typing import Any

from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, runs_of


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko show", description="One run at a glance.")
    parser.add_argument("run", help="the run's name or folder")
    add_runs_option(parser)
    parser.add_argument("--all", action="store_true", help="every column, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: there is no such run.
    """
    from ..store.analysis.run_summary import cost_line, legend, start_and_end
    from ..store.layout.liveness import in_words
    from ..store.reading.incomplete_steps import incomplete_steps
    from .terminal.opened_runs import opened_run, rollout_steps
    from .terminal.output import printable
    from .terminal.run_summary import summary_table

    catalog, run = opened_run(find_run(options.run, runs_of(options)))
    stands = catalog.connection.execute("SELECT status, last_seen, dropped, last_step FROM runs").fetchone()
    *status, step = stands or ("empty", None, 0, None)
    beside = bool(run.manifest.evaluations and not run.manifest.attempts)  # a run of its own, which trains nothing
    steps = "" if beside else f", {'no' if step is None else step} steps"
    print(f"{printable(run.name)}: {in_words(*status)}{steps}")
    facts = {name: run.info.get(name) for name in ("kind", "method", "model", "task", "dataset", "created")}
    facts |= _mapping(run.info, "hyperparameters")
    facts |= {f"probe: {name}": value for name, value in _mapping(run.info, "probe").items()}
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if value is not None:
            print(f"  {printable(name):<{width}}  {printable(str(value))}")
    print()
    if not beside:
        _attempts(run).print(everything=options.all)
    for step, change in catalog.connection.execute("SELECT step, change FROM breaks ORDER BY step").fetchall():
        print(f"from step {step + 1} on figures mean something else: {printable(change)}")
    if not beside:
        print()
        window = rollout_steps(catalog.connection)
        figures = start_and_end(catalog.connection, window)
        summary_table(figures).print(everything=options.all)
        print(legend(figures, window))
    if run.manifest.evaluations:
        from .terminal.evaluation_table import print_evaluations_of

        print_evaluations_of(catalog.connection, everything=options.all)
    for line in filter(None, (cost_line(catalog.connection), *incomplete_steps(catalog.connection))):
        print(printable(line))
    if not beside and (line := _findings(catalog, run)):
        print(printable(line))
    return 0


def _findings(catalog: Any, run: Any) -> str:
    """Which rules fire, in a line; rules that read token rows take too long here."""
    from ..store.analysis.findings.registry import RULES, judge
    from ..store.analysis.findings.run_log import RunLog
    from .terminal.findings_text import findings_line

    log = RunLog(catalog, run)
    return findings_line(judge(log, [rule for rule in RULES.values() if rule.reads != "token rows"]), run.path)


def _attempts(run: Any) -> Any:
    """The attempts of a run as a table."""
    from ..store.layout.liveness import in_words
    from .terminal.opened_runs import minute
    from .terminal.tables import Column, Table

    names, numbers = ("attempt", "status", "begun", "ended"), ("from step", "ranks", "dropped")
    table = Table(*(Column(name, importance=1) for name in names), *(Column(name, numeric=True) for name in numbers))
    for attempt in run.manifest.attempts:
        status = in_words(attempt.status, attempt.last_seen)
        times = minute(attempt.started), minute(attempt.ended)
        numbers_of = attempt.start_step, attempt.world_size, attempt.dropped
        table.add(attempt.attempt, status, *times, *numbers_of)
    return table


def _mapping(info: dict[str, Any], name: str) -> dict[str, Any]:
    value = info.get(name)
    return value if isinstance(value, dict) else {}
