"""SQL over runs: the manifests resolved once, base relations over their Parquet files, and the views on top.

    with simko.store.open("runs/") as connection:
        connection.sql("SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all'").df()

Base relations hold every attempt: `all_tokens`, `all_responses`, `all_rollups`, `all_evals` (the schema's columns after
`run`), and the small tables `attempts`, `breaks`, `run_info`, `texts`. The views of `sql/*.sql` are written on
those names alone, so they work the same on Parquet (here) and on in-memory tables (the dashboard's live mirror).

Nothing here raises on the content of a run: a torn file, a damaged manifest or a newer schema is a line in `problems`,
and the rest is served. An empty folder gives empty relations with the right columns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ..layout.manifest_file import altered
from ..layout.schema import TABLES, TableName
from ..writing.parquet import read_through
from .loaded_runs import SMALL, Run, largest_k, load_runs, small_rows, vocabularies
from .view_templates import copy_views, kept_views
from .views import (
    VIEWS,
    column_types,
    define_views,
    empty_relation,
    parts_relation,
    quote,
    select_parts,
    select_texts,
    sql_type,
    texts_relation,
)


class Catalog:
    """The runs of a folder behind one DuckDB connection.

    Args:
        folder: a run, a folder of runs, or a list of either.
        views: those that will be asked for; to make them all takes a tenth of a second.
        nested: also the runs in the sub-folders of a run.
        tables: those whose files are opened; the others are empty (`held_tables` reads them its own way).

    Attributes:
        connection: in memory; `con.execute("SELECT … FROM lambda_k")`.
        runs: those that could be read.
        problems: one line each about what could not.
        files: table → run → its Parquet files that are read, of the tables opened.

    Raises:
        RunNotFound: the folder does not exist.
    """

    def __init__(
        self,
        folder: str | Path | Sequence[str | Path],
        views: Sequence[str] = VIEWS,
        *,
        nested: bool = True,
        tables: Sequence[TableName] = TABLES,
    ) -> None:
        self.runs, self.problems = load_runs(folder, nested=nested)
        self.files: dict[TableName, dict[str, list[Path]]] = {}
        self._damaged: set[Path] = set()
        self.connection = duckdb.connect(":memory:")
        # DuckDB would draw a bar into stdout, among the rows, when a query takes seconds.
        self.connection.execute("SET enable_progress_bar = false")
        _make_tables(self.connection, small_rows(self.runs))
        k = largest_k(self.runs)
        # On empty relations, which are then replaced: views on the files would open every one of them once more.
        _make_relations(self.connection, k)
        kept = kept_views(k, views, lambda other: _make_views(other, k, views))
        if kept is None:
            define_views(self.connection, k, views)
        self.open_files(tables)
        if kept is not None and not copy_views(self.connection, kept):
            define_views(self.connection, k, views)

    def open_files(self, tables: Sequence[TableName] = TABLES, runs: Sequence[Run] | None = None) -> None:
        """Put `all_<table>` on the files of some runs (all of them), and `texts` where tokens are among the tables.

        Files that cannot be opened or do not fit are named and left out.
        """
        k = largest_k(self.runs)
        paths = {table: self._opened_parts(table, k, self.runs if runs is None else runs) for table in tables}
        types = self._types_of_relations()
        for table in tables:
            expected = column_types(table, k)
            if types[f"all_{table}"] != {"run": "VARCHAR", **expected}:
                paths[table] = self._fitting(paths[table], expected)
                self.connection.execute(parts_relation(table, paths[table], k))
            self.files[table] = paths[table]
        if "tokens" in tables:
            self._read_vocabulary()

    def leave_out_damaged_sums(self) -> None:
        """As `leave_out_damaged`, but only where something besides token rows and texts cannot be read.

        Call it before asking many questions of roll-ups, evaluations and responses.
        """
        try:
            for table in TABLES:
                if table != "tokens":
                    # A hash has to be read; a count comes from the file's end.
                    few = "* EXCLUDE (prompt, completion)" if table == "responses" else "*"
                    self.connection.execute(f"SELECT max(hash(COLUMNS({few}))) FROM all_{table}").fetchall()
        except duckdb.Error:
            self.leave_out_damaged()

    def leave_out_damaged(self) -> None:
        """Read every file to its end, name those where that fails, and serve the rest.

        Opening a run looks at the ends of its files alone, so a page that was damaged later comes up when it is read:
        as an error of the query. This takes as long as reading all there is.
        """
        for run in self.runs:
            for part in run.manifest.parts:
                if (problem := altered(part)) and part.path.is_file():
                    self._damaged.add(part.path)
                    self.problems.append(problem)
            parts = {part.path: part.rows for part in run.manifest.parts if part.path not in self._damaged}
            vocabulary = {run.vocabulary: None} if run.vocabulary else {}
            for path, rows in {**parts, **vocabulary}.items():
                if path.is_file() and (problem := self._damage(path, rows)):
                    self._damaged.add(path)
                    self.problems.append(f"{path}: damaged ({problem}); left out")
        self.open_files()

    def _damage(self, path: Path, rows: int | None) -> str | None:
        """What is wrong with a file that should have so many rows."""
        try:
            result = read_through(path)  # sees more than DuckDB, which takes a page as it comes
            self.connection.execute(f"SELECT max(hash(COLUMNS(*))) FROM read_parquet({quote(str(path))})").fetchall()
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            return str(error).splitlines()[0]
        return None if rows in (None, result) else f"{result} rows where the manifest says {rows}"

    def _read_vocabulary(self) -> None:
        files = {key: path for key, path in vocabularies(self.runs).items() if path not in self._damaged}
        try:
            self.connection.execute(texts_relation(files))
        except duckdb.Error:
            paths = {key: [path] for key, path in files.items()}
            readable = self._readable(paths, select_texts, "its tokens have no text")
            self.connection.execute(texts_relation({key: path for key, path in files.items() if readable[key]}))

    def _opened_parts(self, table: TableName, k: int, runs: Sequence[Run]) -> dict[str, list[Path]]:
        """Put `all_<table>` on the runs' files; those DuckDB cannot open are named and left out."""
        paths = {
            run.name: [p.path for p in run.manifest.parts if p.table == table and p.path not in self._damaged]
            for run in runs
        }
        try:
            self.connection.execute(parts_relation(table, paths, k))
        except duckdb.Error:
            empty = empty_relation(table, k)
            paths = self._readable(
                paths,
                lambda path: f"{empty} UNION ALL BY NAME {select_parts(table, '', [path])}",
                "its rows are left out",
            )
            self.connection.execute(parts_relation(table, paths, k))
        return paths

    def _readable(
        self, paths: Mapping[str, list[Path]], select: Callable[[Path], str], otherwise: str
    ) -> dict[str, list[Path]]:
        """The files that a SELECT can open; a line of `problems` for each that is there and cannot be opened."""
        readable: dict[str, list[Path]] = {}
        for run, candidates in paths.items():
            readable[run] = []
            for path in candidates:
                try:
                    self.connection.execute(f"FROM ({select(path)}) LIMIT 0")
                    readable[run].append(path)
                except duckdb.Error as error:
                    if path.exists():
                        self.problems.append(f"{path}: cannot be read ({str(error).splitlines()[0]}); {otherwise}")
        return readable

    def _fitting(self, paths: Mapping[str, list[Path]], types: Mapping[str, str]) -> dict[str, list[Path]]:
        """The files whose columns have the types of the schema; a line of `problems` for each that has not.

        One file with words where numbers belong would make the column words for every run.
        """
        fitting: dict[str, list[Path]] = {}
        for run, candidates in paths.items():
            fitting[run] = []
            for path in candidates:
                result = self._types_of(f"(FROM read_parquet({quote(str(path))}))")
                odd = [f"{name} is {type_}" for name, type_ in result.items() if types.get(name, type_) != type_]
                if odd:
                    self.problems.append(f"{path}: {odd[0]}, not {types[odd[0].split()[0]]}; its rows are left out")
                else:
                    fitting[run].append(path)
        return fitting

    def _types_of(self, relation: str) -> dict[str, str]:
        """Column → type."""
        return {row[0]: row[1] for row in self.connection.execute(f"DESCRIBE {relation}").fetchall()}

    def _types_of_relations(self) -> dict[str, dict[str, str]]:
        """`all_<table>` → column → type, as they were made: describing one would open every file again."""
        types: dict[str, dict[str, str]] = {f"all_{table}": {} for table in TABLES}
        rows = self.connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE table_name IN "
            f"({', '.join(map(quote, types))}) ORDER BY column_index"
        )
        for relation, column, type_ in rows.fetchall():
            types[relation][column] = type_
        return types


def _make_tables(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    for name, rows in tables.items():
        # Not through Arrow, which loads pandas: `simko ls` would take half as long again.
        columns = ", ".join(f"unnest(?::{sql_type(f.type)}[]) AS {f.name}" for f in SMALL[name])
        values = [[row.get(field.name) for row in rows] for field in SMALL[name]]
        connection.execute(f"CREATE TABLE {name} AS SELECT {columns}", values)


def _make_relations(connection: duckdb.DuckDBPyConnection, k: int) -> None:
    for table_name in TABLES:
        connection.execute(f"CREATE VIEW all_{table_name} AS {empty_relation(table_name, k)}")
    connection.execute(texts_relation({}))


def _make_views(connection: duckdb.DuckDBPyConnection, k: int, views: Sequence[str]) -> None:
    """All views on nothing."""
    _make_tables(connection, small_rows([]))
    _make_relations(connection, k)
    define_views(connection, k, views)


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
