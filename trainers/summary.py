"""The table a run ends with: pass@k and Λ(k) at its start and its end, read from the run's own log by SQL."""

from __future__ import annotations

from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from ..store import open as open_runs
from ..store.incomplete import incomplete_steps
from ..store.next_commands import next_commands

PASS_AT = (1, 8, 64, 256)
RANKS = (1, 2, 3)

_PASS_AT_K = """
WITH best AS (
    SELECT split, source FROM pass_at_k WHERE split IN ('heldout', 'validation') ORDER BY split, source LIMIT 1
)
SELECT k, arg_min(pass_at_k, step), arg_max(pass_at_k, step)
FROM pass_at_k JOIN best USING (split, source)
WHERE k IN {ks}
GROUP BY k ORDER BY k
"""
_LAMBDA_K = """
WITH window_ends AS (SELECT min(step) AS first, max(step) AS last FROM lambda_k WHERE verdict = 'all' AND complete)
SELECT k,
       sum(lambda_k * n_responses) FILTER (step < first + {window}) / sum(n_responses) FILTER (step < first + {window}),
       sum(lambda_k * n_responses) FILTER (step > last - {window}) / sum(n_responses) FILTER (step > last - {window})
FROM lambda_k, window_ends WHERE verdict = 'all' AND complete AND k IN {ks}
GROUP BY k ORDER BY k
"""


def summary(connection: duckdb.DuckDBPyConnection, window: int) -> Table:
    """Start → end of a run.

    Args:
        connection: with the views, on the one run.
        window: optimizer steps averaged at either end for Λ(k): those of one rollout batch.

    Returns:
        A rich table; rows without data are left out.
    """
    passes = connection.execute(_PASS_AT_K.format(ks=PASS_AT)).fetchall()
    lambdas = connection.execute(_LAMBDA_K.format(ks=RANKS, window=window)).fetchall()
    table = Table()
    for heading in ("", "start", "end", "change"):
        table.add_column(heading, justify="left" if not heading else "right")
    for k, start, end in passes:
        table.add_row(f"pass@{k}", f"{start:.3f}", f"{end:.3f}", f"{end - start:+.3f}")
    for k, start, end in lambdas:
        table.add_row(f"Λ({k})", f"{start:.3f}", f"{end:.3f}", f"{end - start:+.3f}")
    return table


def legend(window: int) -> str:
    """What the table of `summary` shows."""
    return (
        "pass@k: problems not trained on, before and after training. Λ(k): training responses, mean log-probability of "
        f"the rank-k candidate in nats, first and last {'step' if window == 1 else f'{window} steps'}."
    )


def cost_line(connection: duckdb.DuckDBPyConnection) -> str | None:
    """What logging has cost, in a line; None for a run without token rows."""
    found = connection.execute(
        "SELECT share, bytes_per_token, n_bytes, dropped, n_nonfinite FROM run_costs JOIN runs USING (run)"
    ).fetchone()
    if found is None or found[1] is None:
        return None
    share, per_token, size, dropped, nonfinite = found
    parts = [] if share is None else [f"{100 * share:.1f} % of the step"]
    parts += [f"{per_token:.0f} B a token row", f"{size / 1e6:.1f} MB in all"]
    parts.append(f"{dropped} micro-batches NOT logged" if dropped else "nothing dropped")
    if nonfinite:
        parts.append(f"{nonfinite} tokens with NaN or infinite statistics left out of every mean")
    return f"probe: {', '.join(parts)}"


def print_summary(run_dir: Path, window: int) -> None:
    """Print the table, the run's folder, and the two commands to type next."""
    console = Console()
    with open_runs(run_dir) as connection:
        console.print()
        console.print(summary(connection, window))
        console.print(legend(window), soft_wrap=True)
        if line := cost_line(connection):
            console.print(line, soft_wrap=True, highlight=False)
        for line in incomplete_steps(connection):
            print(line)
    query = "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all' AND k <= 3 ORDER BY step DESC, k LIMIT 9"
    print(f"\nrun folder: {run_dir}")
    print("\n".join(next_commands(run_dir.parent, run_dir, query)), flush=True)
