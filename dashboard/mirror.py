"""The runs of a folder in one in-memory DuckDB: every new Parquet part is read once, every page asks the same tables.

    mirror = Mirror(Path("runs")); mirror.refresh()
    with mirror.snapshot() as con:                       # one consistent state, whatever is written meanwhile
        con.execute("SELECT step, k, lambda_k FROM lambda_k").df()

Small files are what costs, not their size, so `all_rollups`, `all_responses` and `all_evals` are plain tables here, and
the store's views sit on them unchanged. The sums that Λ(k) is made of are a table, too, which grows with each step
(`live_tables/lambda_sums`). New rows wait until a query needs their table (`live_tables/waiting_rows`). What is large
stays on disk: token rows (`response_tokens` reads those of one response) and the texts of responses (NULL in
`all_responses`; `step_responses` reads those of one step).

Invariants: a query sees the state of one refresh; a part is read again only when its run was replaced; nothing raises
on the content of a run, it becomes a line of `problems`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from ..store.errors import RunNotFound
from ..store.layout.manifest import Manifest, ManifestReader
from ..store.layout.manifest_file import Part
from ..store.layout.schema import TABLES, TableName, arrow_schema
from ..store.reading.loaded_runs import SMALL, TEXTS, Run, largest_k, load_runs, small_rows
from ..store.reading.views import define_views, empty_relation, select_parts
from .live_tables.lambda_sums import LambdaSums
from .live_tables.parts import LEFT_ON_DISK, Key, key_of, read_part
from .live_tables.waiting_rows import WaitingRows

__all__ = ["LEFT_ON_DISK", "Mirror"]

INGESTED: tuple[TableName, ...] = ("responses", "rollups", "evals", "costs")


class Mirror:
    """What a dashboard server knows of a folder of runs.

    Attributes:
        folder: a folder of runs, or one run.
        problems: one line each about what could not be read.
        runs: those that could be read.
        version: grows when a refresh found something new; a page may key what it computed by it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.problems: list[str] = []
        self.version = 0
        self._lock = threading.Lock()
        # A second thread costs more than it gives: nearly everything asked here is a few thousand rows.
        self._con = duckdb.connect(":memory:", config={"threads": 1})
        self._waiting = WaitingRows(self._con)
        self._lambda_sums = LambdaSums(self._con, self._waiting)
        self.runs: list[Run] = []
        self._readers: dict[Path, ManifestReader] = {}
        self._keys: dict[str, tuple[Manifest, dict[Key, Part], dict[int, tuple[Key, Part]]]] = {}
        self._about: object = None
        self._small: dict[str, list[dict[str, Any]]] = {}
        self._ingested: dict[str, set[Key]] = {}
        self._unreadable: dict[Key, str] = {}
        self._with_texts: set[str] = set()
        self._state: object = None
        self._order: dict[str, int] = {}
        self._refreshed = float("-inf")
        self._k = 0
        self._schemas: dict[TableName, pa.Schema] = {}

    # Following the runs

    def refresh(self, *, max_age: float = 0.0) -> None:
        """Take in what was written since the last refresh, unless that was less than `max_age` seconds ago."""
        with self._lock:
            if time.monotonic() - self._refreshed < max_age:
                return
            try:
                runs, problems = load_runs(self.folder, self._readers)
            except RunNotFound as error:
                runs, problems = [], [str(error)]
            self.runs = runs
            keys = {run.name: self._keys_of(run) for run in runs}
            with self._transaction():
                changed = self._take_in(runs, keys)
            problems += [line for key, line in self._unreadable.items() if any(key in parts for parts in keys.values())]
            state = [problems, [(run.name, run.info, run.manifest.attempts) for run in runs]]
            if changed or state != self._state:
                self.version += 1
            self._state, self.problems = state, problems
            for run in sorted(runs, key=lambda run: (str(run.info.get("created")), run.name)):
                self._order.setdefault(run.name, len(self._order))
            self._refreshed = time.monotonic()

    def _keys_of(self, run: Run) -> dict[Key, Part]:
        """The parts a run has for us; worked out anew when its manifest is another one."""
        manifest, keys, known = self._keys.get(run.name, (None, {}, {}))
        if manifest is not run.manifest:
            parts = [part for part in run.manifest.parts if part.table in INGESTED]
            # A run written anew has new parts, if with the old names: the very same one needs no look at its file
            known = {id(part): known.get(id(part)) or (key_of(part), part) for part in parts}
            keys = dict(known.values())
            self._keys[run.name] = run.manifest, keys, known
        return keys

    def _take_in(self, runs: Sequence[Run], keys: dict[str, dict[Key, Part]]) -> bool:
        changed = False
        if (k := largest_k(runs)) > self._k:
            self._start_over(k)
            changed = True
        for name, seen in list(self._ingested.items()):
            if name not in keys or not seen <= keys[name].keys():  # deleted, or deleted and written anew
                self._waiting.put()
                for table in (f"all_{table}" for table in INGESTED):
                    self._con.execute(f"DELETE FROM {table} WHERE run = ?", [name])
                del self._ingested[name]
                self._lambda_sums.forget(name)
                changed = True
        about = [(run.name, run.info, run.texts, run.manifest) for run in runs]
        evaluated = any(run.manifest.evaluations for run in runs)  # whose state is asked of the clock
        for name, rows in small_rows(runs).items() if evaluated or about != self._about else ():
            if rows != self._small.get(name):
                self._waiting.replace(name, pa.Table.from_pylist(rows, schema=SMALL[name]))
                self._small[name] = rows
        self._about = about
        rollups: dict[str, pa.Table] = {}
        for run in runs:
            seen = self._ingested.setdefault(run.name, set())
            fresh = keys[run.name].keys() - seen - self._unreadable.keys()
            new = {key: part for key, part in keys[run.name].items() if key in fresh} if fresh else {}
            for table_name in INGESTED if new else ():
                parts = [(key, part) for key, part in new.items() if part.table == table_name]
                rows = self._ingest(run, table_name, parts)
                if rows and table_name == "rollups":
                    rollups[run.name] = rows[0] if len(rows) == 1 else pa.concat_tables(rows, promote_options="default")
            seen |= {key for key in new if key not in self._unreadable}
            changed |= bool(new)
            self._ingest_texts(run)
        self._lambda_sums.update(runs, rollups)
        return changed

    def _ingest(self, run: Run, table: TableName, parts: list[tuple[Key, Part]]) -> list[pa.Table]:
        """Append the rows of some parts to a table; returns them."""
        if not parts:
            return []
        try:
            # Read and cast before the INSERT: a statement that fails would abort the whole refresh.
            rows, *more = (read_part(part.path, self._schemas[table]) for _, part in parts)
            rows = pa.concat_tables([rows, *more], promote_options="default") if more else rows
            rows = rows.add_column(0, "run", pa.repeat(run.name, rows.num_rows))
        except (OSError, pa.ArrowException) as error:
            if len(parts) > 1:
                return [rows for single in parts for rows in self._ingest(run, table, [single])]
            key, part = parts[0]
            reason = str(error).splitlines()[0]
            self._unreadable[key] = f"{part.path}: cannot be read ({reason}); its {part.rows} rows are left out"
            return []
        self._waiting.add(f"all_{table}", rows)
        return [rows]

    def _ingest_texts(self, run: Run) -> None:
        if run.texts and run.vocabulary and run.texts not in self._with_texts:
            try:
                rows = read_part(run.vocabulary, pa.schema([field for field in TEXTS if field.name != "vocabulary"]))
            except (OSError, pa.ArrowException):
                return
            self._waiting.insert("texts", rows.add_column(0, "vocabulary", pa.repeat(run.texts, rows.num_rows)))
            self._with_texts.add(run.texts)

    def _start_over(self, k: int) -> None:
        """Make every base relation, empty, with columns for K ranks, and the views on them."""
        self._k = k
        self._schemas = {table: arrow_schema(table, k) for table in INGESTED}
        self._waiting.clear()
        self._ingested.clear()
        self._unreadable.clear()
        self._with_texts.clear()
        self._small.clear()
        self._about = None
        for table in TABLES:
            self._con.execute(f"CREATE OR REPLACE TABLE all_{table} AS {empty_relation(table, k)}")
        for name, schema in SMALL.items():
            arrow_table = schema.empty_table()  # noqa: F841
            self._con.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM arrow_table")
        self._con.execute("CREATE OR REPLACE TABLE texts (vocabulary VARCHAR, token_id INTEGER, text VARCHAR)")
        define_views(self._con, k)
        self._lambda_sums.start_over(k)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._con.begin()
        try:
            yield
        except BaseException:
            self._con.rollback()
            self._k = 0  # what was taken in is no longer known: the next refresh starts over
            self._waiting.clear()
            raise
        self._con.commit()

    # Asking

    @contextmanager
    def snapshot(self, sql: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor that sees one state of the tables until it is left, or of those alone that `sql` asks, if given."""
        cursor = self._con.cursor()
        try:
            with self._lock:
                if not self._schemas:  # asked before the first refresh
                    with self._transaction():
                        self._start_over(largest_k([]))
                if tables := self._waiting.tables_of(sql):
                    with self._transaction():
                        self._waiting.put(tables)
                cursor.begin()
                cursor.execute("FROM breaks LIMIT 0")  # the state is that of the first statement, not of BEGIN
            yield cursor
        finally:
            cursor.close()

    def frame(self, sql: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """The rows of one query."""
        with self.snapshot(sql) as cursor:
            return cursor.execute(sql, list(parameters)).df()

    @property
    def order(self) -> dict[str, int]:
        """Run → its place by first appearance, which never changes while the server lives (colours hang on it)."""
        return dict(self._order)

    @property
    def names(self) -> list[str]:
        """The runs that can be read now, by first appearance."""
        return sorted((run.name for run in self.runs), key=lambda name: self._order.get(name, len(self._order)))

    def info(self, run: str) -> dict[str, Any]:
        """The content of a run's `run.json`; empty for an unknown run."""
        return next((result.info for result in self.runs if result.name == run), {})

    def step_responses(self, run: str, step: int) -> pd.DataFrame:
        """The responses whose first step is `step`, with their texts, as in the view `responses`."""
        rows = self._on_disk("responses", run, step, step)
        return self.frame(
            f"SELECT r.* FROM ({rows}) r JOIN attempt_spans s ON s.run = r.run AND s.attempt = r.attempt "
            "WHERE r.step = $1 AND r.step <= s.last_step ORDER BY r.group_id, r.response_id",
            [step],
        )

    def response_tokens(
        self, run: str, attempt: int, response_id: int, first_step: int, last_step: int
    ) -> pd.DataFrame:
        """The token rows of one response as in the view `tokens`, by step and position.

        Args:
            run, attempt, response_id: which response.
            first_step, last_step: steps that can have scored it.

        Returns:
            One row a position and scoring step; no rows where none were logged (token rows can be sampled).
        """
        rows = self._on_disk("tokens", run, first_step, last_step)
        logp, ids = (", ".join(f"t.{column}_{k}" for k in range(1, self._k + 1)) for column in ("logp", "id"))
        return self.frame(
            f"""
            SELECT t.*, [{logp}] AS logp, [{ids}] AS ids, v.text
            FROM ({rows}) t
            JOIN attempt_spans s ON s.run = t.run AND s.attempt = t.attempt AND t.step <= s.last_step
            LEFT JOIN vocabulary v ON v.run = t.run AND v.token_id = t.token_id
            WHERE t.attempt = ? AND t.response_id = ? ORDER BY t.step, t.position
            """,
            [attempt, response_id],
        )

    def logged_responses(self, run: str, first_step: int, last_step: int) -> set[tuple[int, int]]:
        """(attempt, response_id) of the responses that have token rows of some of these steps."""
        rows = self._on_disk("tokens", run, first_step, last_step)
        result = self.frame(
            f"SELECT DISTINCT attempt, response_id FROM ({rows}) WHERE step BETWEEN $1 AND $2", [first_step, last_step]
        )
        return {(int(attempt), int(response)) for attempt, response in result.itertuples(index=False)}

    def _on_disk(self, table: TableName, run: str, first_step: int, last_step: int) -> str:
        """A SELECT of every row of the parts of a run that can hold those steps."""
        result = next((r for r in self.runs if r.name == run), None)
        parts = [
            part.path
            for part in (result.manifest.parts if result else [])
            if part.table == table and part.first_step <= last_step and part.last_step >= first_step
            # Named by the next refresh
            if result and not self._readers[result.path].altered(part)
        ]
        empty = empty_relation(table, self._k)
        return f"{empty} UNION ALL BY NAME {select_parts(table, run, parts)}" if parts else empty
