"""How two runs of one seed are compared on a terminal: a table with intervals, one sentence, what to type next."""

from __future__ import annotations

from pathlib import Path

from ...store import open as open_runs
from ...store.analysis.side_by_side import Row, SideBySide, side_by_side
from .next_commands import next_commands
from .opened_runs import rollout_steps
from .output import encodable
from .tables import Cell, Column, Table, number

_QUERY = "SELECT run, step, k, pass_at_k FROM pass_at_k WHERE split = 'heldout' AND k IN (1, 256) ORDER BY k, run, step"


def print_side_by_side(first: Path, second: Path, labels: tuple[str, str]) -> None:
    """Print what became of two runs.

    Args:
        first, second: their folders.
        labels: what they are called.
    """
    with open_runs(first) as ours, open_runs(second) as theirs:
        window = max(rollout_steps(ours), rollout_steps(theirs))
        result = side_by_side(ours, theirs, labels, window)
    print()
    _table(result, labels).print(hint="")
    print("\n" + "\n".join(encodable(line) for line in (*result.basis, "", result.sentence)) + "\n")
    print("\n".join(next_commands([first, second], _QUERY)), flush=True)


def _table(result: SideBySide, labels: tuple[str, str]) -> Table:
    table = Table(
        Column(""),
        Column("start", numeric=True),
        *(Column(label, numeric=True) for label in labels),
        Column("difference", numeric=True),
        Column("95 % interval", numeric=True),
    )
    for row in result.rows:
        figure = row.figure
        values = (number(value, 3) for value in (row.start, figure.first, figure.second))
        table.add(row.name, *values, number(figure.change, 3, sign="+"), _interval(row))
    return table


def _interval(row: Row) -> Cell:
    """The interval of pass@k; the range of Λ(k) over a rollout's steps is none."""
    if not row.name.startswith("pass@"):
        return ""
    low, high = row.figure.low, row.figure.high
    return lambda fewer: f"{low:+.{3 - min(fewer, 1)}f} to {high:+.{3 - min(fewer, 1)}f}"
