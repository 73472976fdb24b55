"""The table `lambda_sums` of the mirror: sums by step, verdict and rank, of which the view `lambda_k` is a quotient.

The store's views say what is summed (`store/reading/sql/lambda_k.sql`). To ask them costs more than all the rest of a
refresh, because they are planned anew each time, so a step that is new is added up here from its own rows:

    a step counts alone    its rows are of the newest attempt, no rows of it were there before but those of an
                           incomplete step, and every row has a verdict
    anything else          (a resume, a part of an older attempt, a run written anew, the first reading of a folder) is
                           asked of the view, for the steps or the runs concerned

Invariant: after `update` the table has the rows of the view. Sums of more than two numbers may differ from it in the
last digit, as those of the view do between two calls: addition of doubles depends on the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from ...store.reading.loaded_runs import Run
from .waiting_rows import WaitingRows

_TABLE, _VIEW = "lambda_sums_table", "lambda_sums_of_rollups"
_KEYS = ("attempt", "step", "worker", "verdict")
_COUNTS = ("n_responses", "n_tokens", "n_forking")
_RANKED = {
    "r": "response_sum_logp",
    "t": "sum_logp",
    "p": "sum_p",
    "f": "forking_sum_logp",
    "q": "forking_sum_p",
}
_MOST_ROWS = 200
"""More new rows of a run than that are cheaper to ask of the view."""
_Row = dict[str, Any]


class LambdaSums:
    """Keeps the table `lambda_sums` up with the roll-ups.

    Args:
        connection: the mirror's; a transaction is open whenever a method is called.
        waiting: where new rows wait, these and those of the roll-ups.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, waiting: WaitingRows) -> None:
        self._con = connection
        self._waiting = waiting
        self._schema = pa.schema([])
        self._k = 0
        self._attempts: dict[str, object] = {}
        self._steps: dict[str, set[int]] = {}
        self._open: dict[str, dict[int, list[_Row]]] = {}
        """Run → incomplete step → its rows so far."""

    def start_over(self, k: int) -> None:
        """Put an empty table in the place of the view that the store has just made."""
        self._k = k
        self._attempts.clear()
        self._steps.clear()
        self._open.clear()
        self._con.execute(f"DROP VIEW IF EXISTS {_VIEW}")
        self._con.execute(f"ALTER VIEW lambda_sums RENAME TO {_VIEW}")
        self._con.execute(f"CREATE OR REPLACE TABLE {_TABLE} AS FROM {_VIEW} LIMIT 0")
        self._con.execute(f"CREATE VIEW lambda_sums AS FROM {_TABLE}")
        self._schema = self._con.sql(f"FROM {_TABLE}").to_arrow_table().schema

    def forget(self, run: str) -> None:
        """Leave out a run that is gone, or is read anew."""
        self._delete("run = ?", [run])
        for known in (self._attempts, self._steps, self._open):
            known.pop(run, None)

    def update(self, runs: Sequence[Run], new: Mapping[str, pa.Table]) -> None:
        """Take in new rows of roll-ups, which are in `all_rollups` or wait, and what has changed about attempts.

        Args:
            runs: all that there are.
            new: run → its new rows.
        """
        whole: list[str] = []
        added: list[_Row] = []
        for run in runs:
            attempts = tuple((a.attempt, a.start_step, a.world_size, a.logged) for a in run.manifest.attempts)
            rows = new.get(run.name)
            if self._attempts.get(run.name) != attempts:
                self._attempts[run.name] = attempts
                whole.append(run.name)
            elif rows is not None:
                added += self._take(run, rows)
        if whole:
            self._ask_whole(whole)
        if added:
            self._waiting.add(_TABLE, pa.Table.from_pylist(added, schema=self._schema))

    def _take(self, run: Run, rows: pa.Table) -> list[_Row]:
        """The sums of the steps that count alone; the others are asked of the view."""
        steps = set(rows.column("step").to_pylist())
        by_step = _by_step(rows, self._k) if rows.num_rows <= _MOST_ROWS else {}
        newest = max(run.manifest.attempts, key=lambda attempt: attempt.attempt)
        known, open_steps = self._steps.setdefault(run.name, set()), self._open.setdefault(run.name, {})
        added: list[_Row] = []
        for step, some in by_step.items():
            every = [*open_steps.get(step, []), *some]
            alone = step not in known or step in open_steps
            if not alone or any(row["attempt"] != newest.attempt or row["verdict"] is None for row in every):
                continue
            steps.discard(step)
            if step in open_steps:
                self._delete("run = ? AND step = ?", [run.name, step])
            workers = {row["worker"] for row in every} - {None}
            complete = len(workers) == newest.world_size
            if complete:
                open_steps.pop(step, None)
            else:
                open_steps[step] = every
            known.add(step)
            added += _sums(run.name, step, every, complete, self._k)
        if steps:
            where = "run = $1 AND step IN (SELECT unnest($2))"
            for step in steps:
                open_steps.pop(step, None)
            self._delete(where, [run.name, sorted(steps)])
            self._fill(where, [run.name, sorted(steps)])
            known |= steps
        return added

    def _ask_whole(self, runs: Sequence[str]) -> None:
        """Ask the view for all of some runs."""
        where = "run IN (SELECT unnest($1))"
        self._delete(where, [runs])
        self._fill(where, [runs])
        for run in runs:
            self._open.pop(run, None)
            self._steps[run] = set()
        sql = f"SELECT DISTINCT run, step FROM {_TABLE} WHERE {where}"
        for run, step in self._con.execute(sql, [runs]).fetchall():
            self._steps[run].add(step)

    def _delete(self, where: str, parameters: Sequence[Any]) -> None:
        self._waiting.put([_TABLE])
        self._con.execute(f"DELETE FROM {_TABLE} WHERE {where}", parameters)

    def _fill(self, where: str, parameters: Sequence[Any]) -> None:
        self._waiting.put()
        rows = self._con.sql(f"FROM {_VIEW} WHERE {where}", params=list(parameters)).to_arrow_table()
        self._waiting.insert(_TABLE, rows)


def _by_step(rows: pa.Table, k: int) -> dict[int, list[_Row]]:
    ranked = [f"{name}_{rank}" for name in _RANKED.values() for rank in range(1, k + 1)]
    wanted = [*_KEYS, *_COUNTS, "response_sum_logprob", *ranked]
    written = set(rows.column_names)
    there = [name for name in wanted if name in written]
    result: dict[int, list[_Row]] = {}
    for row in rows.select(there).to_pylist():
        result.setdefault(row["step"], []).append(row)
    return result


def _sums(run: str, step: int, rows: Sequence[_Row], complete: bool, k: int) -> list[_Row]:
    """The rows of `lambda_sums` of one step, as in `store/reading/sql/lambda_k.sql`."""
    by_verdict: dict[str, list[_Row]] = {}
    for row in rows:
        by_verdict.setdefault(row["verdict"], []).append(row)
    result = []
    for verdict, some in {"all": rows, **by_verdict}.items():
        about = {"run": run, "step": step, "verdict": verdict, "complete": complete}
        about |= {name: _sum(some, name) for name in (*_COUNTS, "response_sum_logprob")}
        for rank in range(1, k + 1):
            sums = {short: _sum(some, f"{name}_{rank}") for short, name in _RANKED.items()}
            result.append({**about, "k": rank, **sums})
    return result


def _sum(rows: Sequence[_Row], name: str) -> Any:
    """As SQL adds up: without NULLs, and NULL where nothing else is there."""
    values = [value for row in rows if (value := row.get(name)) is not None]
    return sum(values[1:], values[0]) if values else None
