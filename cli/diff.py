"""`simko diff`: two runs beside each other: options that differ, and figures on the same problems and steps.

    simko diff grpo-short simko-short

Changes are second run minus first.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, runs_of

if TYPE_CHECKING:
    from ..store.analysis.run_comparison import Figure
    from .terminal.tables import Cell, Table


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko diff", description="Two runs beside each other.")
    parser.add_argument("first", help="a run's name or folder")
    parser.add_argument("second", help="another run's; changes are second minus first")
    add_runs_option(parser)
    parser.add_argument("--all", action="store_true", help="every column, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: there is no such run.
    """
    from ..store.analysis.run_comparison import differing, incomparable, pass_at_k_figures, step_figures
    from .terminal.opened_runs import opened_run, rollout_steps
    from .terminal.output import printable

    runs = runs_of(options)
    (ours, first), (theirs, second) = (opened_run(find_run(name, runs)) for name in (options.first, options.second))
    names = [first.name, second.name] if first.name != second.name else [str(first.path), str(second.path)]
    entries = differing(first.info, second.info)
    if entries:
        _options(entries, names).print(everything=options.all)
    else:
        print("every option is the same")
    print()
    window = max(rollout_steps(ours.connection), rollout_steps(theirs.connection))
    figures = pass_at_k_figures(ours.connection, theirs.connection)
    figures += step_figures(ours.connection, theirs.connection, window)
    if figures:
        _figures(figures, names).print(everything=options.all)
        print()
        for basis in dict.fromkeys(figure.basis for figure in figures):
            print(f"{', '.join(figure.name for figure in figures if figure.basis == basis)}: {printable(basis)}")
        print("one run of each: no interval here covers other seeds, which `simko study` does")
    else:
        print("the runs have no step in common: no figures to compare")
    for line in incomparable(first.info, second.info):
        print(f"different {printable(line)}")
    return 0


def _options(entries: Sequence[tuple[str, Any, Any]], names: Sequence[str]) -> Table:
    from .terminal.tables import Column, Table

    table = Table(Column("option"), *(Column(name, wraps=True) for name in names))
    for entry in entries:
        table.add(*("–" if value is None else value for value in entry))
    return table


def _figures(figures: Sequence[Figure], names: Sequence[str]) -> Table:
    from .terminal.tables import Column, Table, number

    table = Table(
        Column(""),
        *(Column(name, numeric=True) for name in names),
        Column("change", numeric=True, importance=2),
        Column("from … to", numeric=True, importance=1),
    )
    for figure in figures:
        change = number(figure.change, 3, sign="+")
        table.add(figure.name, number(figure.first, 3), number(figure.second, 3), change, _span(figure))
    return table


def _span(figure: Figure) -> Cell:
    """The interval of a change."""
    if math.isnan(figure.low):
        return ""
    return lambda fewer: f"{figure.low:+.{3 - min(fewer, 1)}f} … {figure.high:+.{3 - min(fewer, 1)}f}"
