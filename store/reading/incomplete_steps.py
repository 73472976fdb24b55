"""Which steps not every process has reported, in lines for people.

    two: steps 17 to 19: 1 of 2 ranks reported (not rank 1); left out of every average

The dashboard's page Runs, a report and the summary of a run say them.
"""

from __future__ import annotations

from typing import Any

_SPANS = """
WITH spans AS (
    SELECT s.*, s.step - row_number() OVER (PARTITION BY run, attempt, missing ORDER BY s.step) AS span
    FROM steps s WHERE NOT s.complete
)
SELECT s.run, min(s.step), max(s.step), any_value(s.reported), any_value(s.world_size), s.missing,
       any_value(r.status IN ('running', 'silent', 'unknown') AND s.attempt = r.attempts) AS running
FROM spans s JOIN runs r ON r.run = s.run
GROUP BY s.run, s.attempt, s.missing, s.span
ORDER BY s.run, min(s.step)
"""
_MOST_NAMED = 8
"""Missing ranks that a line names; of more it gives the number alone."""


def incomplete_steps(connection: Any) -> list[str]:
    """One line for each stretch of steps that the same processes have not reported.

    Args:
        connection: a DuckDB connection or cursor with the store's views.
    """
    lines = []
    for run, first, last, reported, ranks, missing, running in connection.execute(_SPANS).fetchall():
        steps = f"step {first}" if first == last else f"steps {first} to {last}"
        names = ", ".join(str(rank) for rank in missing[:_MOST_NAMED])
        named = f" (not rank{'s' * (len(missing) > 1)} {names}{', …' * (len(missing) > _MOST_NAMED)})"
        so_far = " so far" if running else ""
        lines.append(f"{run}: {steps}: {reported} of {ranks} ranks reported{so_far}{named}; left out of every average")
    return lines
