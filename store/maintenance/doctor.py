"""Checks a run's files: who wrote them, what is whole, what was lost.

    simko doctor runs/first
    simko doctor runs/first --deep      also reads every row

A finding is something that is missing from the log or contradicts it; a note is something to know. `deep` reads every
file: bytes and rows as the manifest says, no token row twice, and as many of them as the roll-ups have counted wherever
all rows are written. Without it the bytes of small files alone are compared, and a note says which were not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from ..layout.manifest import Attempt
from ..reading.catalog import Catalog
from ..reading.incomplete_steps import incomplete_steps
from ..reading.loaded_runs import verified_tables
from .garbage import garbage

_SAMPLES = """
SELECT evaluation, coalesce(s.n, 0), c.n FROM
  (SELECT evaluation, sum(n + n_unjudged)::BIGINT AS n FROM all_evals
   WHERE run = $1 AND evaluation IS NOT NULL AND source = 'sampled' GROUP BY ALL) c
LEFT JOIN (SELECT evaluation, count(*) AS n FROM all_samples WHERE run = $1 GROUP BY ALL) s USING (evaluation)
WHERE s.n IS DISTINCT FROM c.n ORDER BY ALL
"""


@dataclass
class Checkup:
    """What was found about one run."""

    run: str
    path: Path
    attempts: list[str] = field(default_factory=list)
    files: int = 0
    rows: int = 0
    bytes: int = 0
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is missing."""
        return not self.findings


def check(folder: Path, *, deep: bool = False) -> tuple[list[Checkup], list[str]]:
    """Look at a run or every run of a folder.

    Args:
        folder: a run or a folder of runs.
        deep: read every row as well.

    Returns:
        one checkup per run; one line per folder that is no readable run.

    Raises:
        RunNotFound: the folder does not exist.
    """
    catalog = Catalog(folder)
    if deep:
        catalog.leave_out_damaged()
    else:
        catalog.leave_out_damaged_sums()
    verified = verified_tables(catalog.runs)
    checkups = []
    elsewhere = list(catalog.problems)
    for run in catalog.runs:
        result = Checkup(run.name, run.path)
        mine = [line for line in catalog.problems if line.startswith((f"{run.path}{os.sep}", f"{run.path}:"))]
        elsewhere = [line for line in elsewhere if line not in mine]
        result.findings += mine
        for attempt in run.manifest.attempts:
            ended = f" {attempt.ended}" if attempt.ended else ""
            result.attempts.append(
                f"{attempt.attempt}: {attempt.status}{ended}, from step {attempt.start_step} on, started "
                f"{attempt.started}, {attempt.world_size} process{'es' * (attempt.world_size > 1)}"
            )
            if attempt.dropped:
                result.findings.append(f"attempt {attempt.attempt}: {attempt.dropped} micro-batches were not logged")
            if attempt.status in ("silent", "stopped"):
                lost = f"attempt {attempt.attempt} {_gone(attempt)}: what waited to be written is lost"
                redone = attempt is not run.manifest.attempts[-1]
                (result.notes if redone else result.findings).append(lost + ", and trained again since" * redone)
        result.notes += [
            f"evaluation {file.evaluation} on {file.benchmark}: {len(file.done)} of {file.units} blocks, "
            f"{file.state()[0]}; the same `simko eval` goes on with it"
            for file in run.manifest.evaluations
            if not file.complete and not file.alive()
        ]
        parts = run.manifest.parts
        result.files, result.rows, result.bytes = len(parts), sum(p.rows for p in parts), sum(p.bytes for p in parts)
        result.findings += [line for line in incomplete_steps(catalog.connection) if line.startswith(f"{run.name}: ")]
        result.findings += _nonfinite(catalog.connection, run.name)
        if waste := garbage(run.path):
            size = sum(item.bytes for item in waste) / 1e6
            result.notes.append(f"{len(waste)} files ({size:.1f} MB) are removable: `simko gc {run.path} --delete`")
        if not deep and (unread := [part for part in parts if part.table not in verified]):
            size = sum(part.bytes for part in unread) / 1e6
            result.notes.append(
                f"{len(unread)} files of token rows and responses ({size:,.1f} MB) were opened but not read through: "
                f"whether their bytes are those written, `simko doctor {run.path} --deep` says"
            )
        if deep:
            result.findings += _contradictions(catalog.connection, run.name, run.info)
        checkups.append(result)
    return checkups, elsewhere


def _gone(attempt: Attempt) -> str:
    """How an attempt without an end is spoken of."""
    seen = f" after {attempt.last_seen}" if attempt.last_seen else ""
    return f"was killed{seen}" if attempt.status == "stopped" else f"has given no sign of life{seen}"


def _nonfinite(connection: Any, run: str) -> list[str]:
    ((tokens,),) = connection.execute("SELECT n_nonfinite FROM runs WHERE run = ?", [run]).fetchall()
    return [f"{tokens} tokens had NaN or infinite statistics; no mean counts them"] if tokens else []


def _contradictions(connection: Any, run: str, info: dict[str, Any]) -> list[str]:
    lines = []
    try:
        ((twice,),) = connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM all_tokens WHERE run = ? "
            "GROUP BY attempt, worker, response_id, step, position HAVING count(*) > 1)",
            [run],
        ).fetchall()
        if twice:
            lines.append(f"{twice} token rows are there more than once")
        lines += [
            f"evaluation {evaluation}: {drawn} responses where {counted} were counted"
            for evaluation, drawn, counted in connection.execute(_SAMPLES, [run]).fetchall()
        ]
        probe = info.get("probe")
        rows = probe.get("rows") if isinstance(probe, dict) else None
        rows = rows if isinstance(rows, dict) else {}
        if rows.get("every", 1) == 1 and rows.get("responses", 1.0) == 1.0:
            lines += [
                f"attempt {attempt}, step {step}: {there or 0} token rows where {counted} tokens were counted"
                for attempt, step, there, counted in connection.execute(
                    """
                    SELECT r.attempt, r.step, t.n, r.n FROM
                      (SELECT attempt, step, sum(n_tokens + n_nonfinite)::BIGINT AS n FROM all_rollups WHERE run = $1
                       GROUP BY ALL) r
                    LEFT JOIN (SELECT attempt, step, count(*) AS n FROM all_tokens WHERE run = $1 GROUP BY ALL) t
                      USING (attempt, step)
                    WHERE t.n IS DISTINCT FROM r.n AND r.n > 0 ORDER BY ALL LIMIT 20
                    """,
                    [run],
                ).fetchall()
            ]
    except duckdb.Error as error:
        lines.append(f"its rows cannot all be read ({str(error).splitlines()[0]})")
    return lines
