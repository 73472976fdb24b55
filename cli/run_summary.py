"""How a run is summed up on a terminal: start → end, what the figures are, what logging cost, what to type next."""

from __future__ import annotations

from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from ..store import open as open_runs
from ..store.analysis.run_summary import cost_line, legend, start_and_end
from ..store.reading.incomplete_steps import incomplete_steps
from .next_commands import next_commands


def summary_table(connection: duckdb.DuckDBPyConnection, window: int) -> Table:
    """pass@k and Λ(k) at both ends of the one run behind the connection.

    Args:
        connection: with the views.
        window: optimizer steps averaged at either end for Λ(k): those of one rollout batch.
    """
    table = Table()
    for heading in ("", "start", "end", "change"):
        table.add_column(heading, justify="left" if not heading else "right")
    for figure in start_and_end(connection, window):
        change = figure.end - figure.start
        table.add_row(figure.name, f"{figure.start:.3f}", f"{figure.end:.3f}", f"{change:+.3f}")
    return table


def print_summary(run_dir: Path, window: int) -> None:
    """Print the table, the run's folder, and the two commands to type next."""
    console = Console()
    with open_runs(run_dir) as connection:
        console.print()
        console.print(summary_table(connection, window))
        console.print(legend(window), soft_wrap=True)
        if line := cost_line(connection):
            console.print(line, soft_wrap=True, highlight=False)
        for line in incomplete_steps(connection):
            print(line)
    query = "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all' AND k <= 3 ORDER BY step DESC, k LIMIT 9"
    print(f"\nrun folder: {run_dir}")
    print("\n".join(next_commands(run_dir.parent, run_dir, query)), flush=True)
