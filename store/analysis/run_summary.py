"""What a run ends with: pass@k and Λ(k) at its start and its end, read from the run's own log by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from ..layout.schema import K_SHOWN

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


@dataclass(frozen=True)
class Change:
    """One figure of a run at its start and at its end."""

    name: str
    start: float
    end: float


def start_and_end(connection: duckdb.DuckDBPyConnection, window: int) -> list[Change]:
    """pass@k and Λ(k) at both ends of a run; figures without data are left out.

    Args:
        connection: with the views, on the one run.
        window: optimizer steps averaged at either end for Λ(k): those of one rollout batch.
    """
    passes = connection.execute(_PASS_AT_K.format(ks=K_SHOWN)).fetchall()
    lambdas = connection.execute(_LAMBDA_K.format(ks=RANKS, window=window)).fetchall()
    return [Change(f"pass@{k}", start, end) for k, start, end in passes] + [
        Change(f"Λ({k})", start, end) for k, start, end in lambdas
    ]


def legend(figures: Sequence[Change], window: int) -> str:
    """What the figures of `start_and_end` are; about those that are there alone."""
    steps = "step" if window == 1 else f"{window} steps"
    lines = {
        "pass@": "pass@k: problems not trained on, before and after training.",
        "Λ": "Λ(k): training responses, mean log-probability of the rank-k candidate in nats, first and last "
        f"{steps}; up for k = 1 and down for the others is concentration.",
    }
    return " ".join(line for name, line in lines.items() if any(figure.name.startswith(name) for figure in figures))


def cost_line(connection: duckdb.DuckDBPyConnection) -> str | None:
    """What logging has cost, in a line; None for a run without token rows."""
    result = connection.execute(
        "SELECT share, bytes_per_token, n_bytes, dropped, n_nonfinite FROM run_costs JOIN runs USING (run)"
    ).fetchone()
    if result is None or result[1] is None:
        return None
    share, per_token, size, dropped, nonfinite = result
    parts = [] if share is None else [f"{100 * share:.1f} % of the step"]
    parts += [f"{per_token:.0f} bytes per token row", f"{size / 1e6:.1f} MB in all"]
    parts.append(f"{dropped} micro-batches NOT logged" if dropped else "nothing dropped")
    if nonfinite:
        parts.append(f"{nonfinite} tokens with NaN or infinite statistics left out of every mean")
    return f"probe: {', '.join(parts)}"
