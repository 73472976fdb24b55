"""How a run is summed up on a terminal: start → end, what the figures are, what logging cost, what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...store import open as open_runs
from ...store.analysis.run_summary import Change, cost_line, legend, start_and_end
from ...store.reading.incomplete_steps import incomplete_steps
from .next_commands import next_commands
from .tables import Column, Table, number

_QUERY = "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all' AND k <= 3 ORDER BY step DESC, k LIMIT 9"


def summary_table(figures: Sequence[Change]) -> Table:
    """pass@k and Λ(k) at both ends of a run, as `start_and_end` gives them."""
    table = Table(Column(""), *(Column(heading, numeric=True) for heading in ("start", "end", "change")))
    for figure in figures:
        change = number(figure.end - figure.start, 3, sign="+")
        table.add(figure.name, number(figure.start, 3), number(figure.end, 3), change)
    return table


def print_summary(run_dir: Path, window: int) -> None:
    """Print the table, the run's folder, and the commands to type next."""
    with open_runs(run_dir) as connection:
        print()
        figures = start_and_end(connection, window)
        summary_table(figures).print(hint="")
        print(f"\n{legend(figures, window)}")
        if line := cost_line(connection):
            print(line)
        for line in incomplete_steps(connection):
            print(line)
    print(f"\nrun folder: {run_dir}")
    print("\n".join(next_commands([run_dir], _QUERY)), flush=True)
