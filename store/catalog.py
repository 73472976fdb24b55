"""SQL over runs: the manifests resolved once, base relations over their Parquet files, and the views on top.

    with simko.store.open("runs/") as connection:
        connection.sql("SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all'").df()

Base relations hold every attempt: `all_tokens`, `all_responses`, `all_rollups`, `all_evals` (the schema's columns after
`run`), and the small tables `attempts`, `run_info`, `vocabulary`. The views of `sql/*.sql` are written on those names
alone, so they work the same on Parquet (here) and on in-memory tables (the dashboard's live mirror).

Nothing here raises on the content of a run: a torn file, a damaged manifest or a newer schema is a line in `problems`,
and the rest is served. An empty folder gives empty relations with the right columns.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from .loaded_runs import largest_k, load_runs, small_tables
from .parquet import read_through
from .run import VOCABULARY_FILE
from .schema import TABLES, TableName
from .views import define_views, empty_relation, parts_relation, quote, vocabulary_relation


class Catalog:
    """The runs of a folder behind one DuckDB connection.

    Attributes:
        connection: in memory; `con.execute("SELECT … FROM lambda_k")`.
        runs: those that could be read.
        problems: one line each about what could not.

    Raises:
        RunNotFound: the folder does not exist.
    """

    def __init__(self, folder: str | Path | Sequence[str | Path]) -> None:
        self.runs, self.problems = load_runs(folder)
        self._damaged: set[Path] = set()
        self.connection = duckdb.connect(":memory:")
        # DuckDB would draw a bar into stdout, among the rows, when a query takes seconds.
        self.connection.execute("SET enable_progress_bar = false")
        for name, table in small_tables(self.runs).items():
            self.connection.register(f"{name}_arrow", table)
            self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_arrow")
            self.connection.unregister(f"{name}_arrow")
        k = largest_k(self.runs)
        # The views are made on empty relations, which are then replaced: each would open every file once more.
        for table_name in TABLES:
            self.connection.execute(f"CREATE VIEW all_{table_name} AS {empty_relation(table_name, k)}")
        self.connection.execute(vocabulary_relation([]))
        define_views(self.connection, k)
        for table_name in TABLES:
            self._read_parts(table_name, k)
        self._read_vocabulary()

    def leave_out_damaged(self) -> None:
        """Read every file to its end, name those where that fails, and serve the rest.

        Opening a run looks at the ends of its files alone, so a page that was damaged later comes up when it is read:
        as an error of the query. This takes as long as reading all there is.
        """
        for run in self.runs:
            for path in (*(part.path for part in run.manifest.parts), run.path / VOCABULARY_FILE):
                try:
                    read_through(path)
                except FileNotFoundError:
                    continue
                except (OSError, pa.ArrowException) as error:
                    self._damaged.add(path)
                    self.problems.append(f"{path}: damaged ({str(error).splitlines()[0]}); left out")
        for table_name in TABLES:
            self._read_parts(table_name, largest_k(self.runs))
        self._read_vocabulary()

    def _read_vocabulary(self) -> None:
        whole = [run for run in self.runs if run.path / VOCABULARY_FILE not in self._damaged]
        try:
            self.connection.execute(vocabulary_relation(whole))
        except duckdb.Error:
            paths = {run.name: [run.path / VOCABULARY_FILE] for run in whole}
            readable = self._readable(paths, "its tokens have no text")
            self.connection.execute(vocabulary_relation(run for run in whole if readable[run.name]))

    def _read_parts(self, table: TableName, k: int) -> None:
        """Put `all_<table>` on the runs' files; those DuckDB cannot open are named and left out."""
        paths = {
            run.name: [p.path for p in run.manifest.parts if p.table == table and p.path not in self._damaged]
            for run in self.runs
        }
        try:
            self.connection.execute(parts_relation(table, paths, k))
        except duckdb.Error:
            self.connection.execute(parts_relation(table, self._readable(paths, "its rows are left out"), k))

    def _readable(self, paths: Mapping[str, list[Path]], otherwise: str) -> dict[str, list[Path]]:
        """The files that open as Parquet; a line of `problems` for each that is there and does not."""
        readable: dict[str, list[Path]] = {}
        for run, candidates in paths.items():
            readable[run] = []
            for path in candidates:
                try:
                    self.connection.execute(f"SELECT * FROM read_parquet({quote(str(path))}) LIMIT 0")
                    readable[run].append(path)
                except duckdb.Error as error:
                    if path.exists():
                        self.problems.append(f"{path}: cannot be read ({str(error).splitlines()[0]}); {otherwise}")
        return readable


def open(folder: str | Path | Sequence[str | Path] = "runs") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the views over a run, a folder of runs, or a list of either.

    What could not be read is warned about; use `Catalog` to get it as a list.

    Raises:
        RunNotFound: the folder does not exist.
    """
    catalog = Catalog(folder)
    for problem in catalog.problems:
        warnings.warn(problem, stacklevel=2)
    return catalog.connection
