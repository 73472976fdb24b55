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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from .errors import SimkoError
from .manifest import Manifest, ManifestReader
from .run import VOCABULARY_FILE, find_runs, read_run
from .schema import COLUMNS, TABLES, TableName, arrow_schema, expand

VIEWS = (
    "tokens",
    "responses",
    "rollups",
    "steps",
    "evals",
    "lambda_k",
    "pass_at_k",
    "concentration",
    "push",
    "token_push",
    "runs",
    "costs",
    "run_costs",
)
"""The views, in the order they are made, after `attempt_spans` that they share; each is a file in `sql/`."""

ATTEMPTS = pa.schema(
    [
        ("run", pa.string()),
        ("attempt", pa.int32()),
        ("start_step", pa.int32()),
        ("world_size", pa.int32()),
        ("started", pa.string()),
        ("ended", pa.string()),
        ("status", pa.string()),
        ("logged", pa.bool_()),
        ("dropped", pa.int64()),
    ]
)
SIZES = pa.schema(
    [("run", pa.string()), ("attempt", pa.int32()), ("table_name", pa.string())]
    + [(name, pa.int64()) for name in ("n_files", "n_rows", "n_bytes")]
)
RUN_INFO = pa.schema(
    [(name, pa.string()) for name in ("run", "path", "created", "method", "model", "task", "dataset", "forking_rule")]
    + [("smoothing_k", pa.int32()), ("smoothing_weighting", pa.string())]
    + [("probe_k", pa.int32()), ("temperature", pa.float64()), ("schema_version", pa.int32())]
    + [("rows_every", pa.int32()), ("rows_share", pa.float64()), ("precision", pa.string())]
)
VOCABULARY = pa.schema([("run", pa.string()), ("token_id", pa.int32()), ("text", pa.string())])
_MOST_RANKS = 1000
"""No run logs more ranks; a larger K in a damaged `run.json` would make as many columns."""
_TYPES = {pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.float32(): "FLOAT", pa.float64(): "DOUBLE"}
_TYPES |= {pa.bool_(): "BOOLEAN", pa.string(): "VARCHAR", pa.list_(pa.int64()): "BIGINT[]"}


@dataclass
class Run:
    """A run that can be read: its name, folder, `run.json` and manifest."""

    name: str
    path: Path
    info: dict[str, Any]
    manifest: Manifest


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
        try:
            self.connection.execute(vocabulary_relation(self.runs))
        except duckdb.Error:
            paths = {run.name: [run.path / VOCABULARY_FILE] for run in self.runs}
            whole = self._readable(paths, "its tokens have no text")
            self.connection.execute(vocabulary_relation(run for run in self.runs if whole[run.name]))

    def _read_parts(self, table: TableName, k: int) -> None:
        """Put `all_<table>` on the runs' files; those DuckDB cannot open are named and left out."""
        paths = {run.name: [part.path for part in run.manifest.parts if part.table == table] for run in self.runs}
        try:
            self.connection.execute(_parquet_relation(table, paths, k))
        except duckdb.Error:
            self.connection.execute(_parquet_relation(table, self._readable(paths, "its rows are left out"), k))

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


def load_runs(
    folder: str | Path | Sequence[str | Path], readers: dict[Path, ManifestReader] | None = None
) -> tuple[list[Run], list[str]]:
    """The readable runs of a folder (or several), and a line about everything that is not.

    Args:
        folder: a run, a folder of runs, or a list of either.
        readers: kept by who asks again and again: what has not changed is then not read again.

    Raises:
        RunNotFound: a folder does not exist.
    """
    folders = [folder] if isinstance(folder, (str, Path)) else folder
    readers = {} if readers is None else readers
    runs: list[Run] = []
    problems: list[str] = []
    for path in dict.fromkeys(run for f in folders for run in find_runs(Path(f))):
        try:
            info = read_run(path)
        except SimkoError as error:
            problems.append(str(error))
            continue
        manifest = readers.setdefault(path, ManifestReader(path)).read()
        problems += manifest.problems
        taken = {run.name for run in runs}
        name = path.name if path.name not in taken else str(path)
        runs.append(Run(name, path, info, manifest))
    return runs, problems


def largest_k(runs: Iterable[Run]) -> int:
    """The largest K logged by any of the runs (at least 3, so that Λ(1..3) can always be asked for)."""
    logged = [_number(_entries(run, "probe").get("k")) for run in runs]
    logged += [attempt.k for run in runs for attempt in run.manifest.attempts]
    return int(max([3, *(k for k in logged if k and k <= _MOST_RANKS)]))


def small_tables(runs: Sequence[Run]) -> dict[str, pa.Table]:
    """`attempts`, `run_info` and `sizes` as Arrow tables."""
    attempts: list[dict[str, Any]] = []
    infos: list[dict[str, Any]] = []
    for run in runs:
        attempts += [{"run": run.name, **vars(attempt)} for attempt in run.manifest.attempts]
        probe, k = _entries(run, "probe"), _number(_entries(run, "probe").get("k"))
        smoothing = _entries(run, "smoothing")
        rows = probe.get("rows")
        rows = rows if isinstance(rows, dict) else {}
        infos.append(
            {
                "run": run.name,
                "path": str(run.path),
                **{key: _text(run.info.get(key)) for key in ("created", "method", "model", "task", "dataset")},
                "forking_rule": _text(probe.get("forking")),
                "smoothing_k": int(_number(smoothing.get("k")) or 0),
                "smoothing_weighting": _text(smoothing.get("weighting", "uniform")),
                "probe_k": None if k is None else int(k),
                "temperature": _number(probe.get("temperature")),
                "schema_version": int(run.info["schema_version"]),
                "rows_every": int(_number(rows.get("every")) or 1),
                "rows_share": _number(rows.get("responses", 1.0)),
                "precision": _text(rows.get("precision", "float32")),
            }
        )
    return {
        "sizes": pa.Table.from_pylist([row for run in runs for row in _sizes(run)], schema=SIZES),
        "attempts": pa.Table.from_pylist(attempts, schema=ATTEMPTS),
        "run_info": pa.Table.from_pylist(infos, schema=RUN_INFO),
    }


def _sizes(run: Run) -> list[dict[str, Any]]:
    """Files, rows and bytes by attempt and table."""
    found: dict[tuple[int, str], list[int]] = {}
    for part in run.manifest.parts:
        sums = found.setdefault((part.attempt, part.table), [0, 0, 0])
        for place, number in enumerate((1, part.rows, part.bytes)):
            sums[place] += number
    names = ("n_files", "n_rows", "n_bytes")
    return [
        {"run": run.name, "attempt": attempt, "table_name": table, **dict(zip(names, sums, strict=True))}
        for (attempt, table), sums in sorted(found.items())
    ]


def _entries(run: Run, name: str) -> dict[str, Any]:
    """The entries of `run.json` under a name; empty where it was edited into something else."""
    entries = run.info.get(name)
    return entries if isinstance(entries, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 2**31 else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def vocabulary_relation(runs: Iterable[Run]) -> str:
    """SQL that makes the view `vocabulary`."""
    parts = [
        f"SELECT {quote(run.name)} AS run, token_id, text FROM read_parquet({quote(str(run.path / VOCABULARY_FILE))})"
        for run in runs
        if (run.path / VOCABULARY_FILE).exists()
    ]
    empty = "SELECT NULL::VARCHAR AS run, NULL::INTEGER AS token_id, NULL::VARCHAR AS text WHERE false"
    return "CREATE OR REPLACE VIEW vocabulary AS " + " UNION ALL ".join([*parts, empty])


def empty_relation(table: TableName, k: int) -> str:
    """A SELECT of the table's columns, `run` first, with their types and no rows."""
    columns = [f"NULL::{_TYPES[field.type]} AS {field.name}" for field in arrow_schema(table, k)]
    return f"SELECT NULL::VARCHAR AS run, {', '.join(columns)} WHERE false"


def select_parts(table: TableName, run: str, paths: Sequence[Path]) -> str:
    """A SELECT of every column of some Parquet files of one run, `run` first."""
    listed = ", ".join(quote(str(path)) for path in paths)
    return f"SELECT {quote(run)} AS run, * FROM read_parquet([{listed}], union_by_name = true)"


def _parquet_relation(table: TableName, paths: Mapping[str, Sequence[Path]], k: int) -> str:
    """SQL that makes `all_<table>` over each run's files, with exactly the schema's columns."""
    columns = ", ".join(["run", *arrow_schema(table, k).names])
    parts = [select_parts(table, run, listed) for run, listed in paths.items() if listed]
    rows = " UNION ALL BY NAME ".join([empty_relation(table, k), *parts])
    return f"CREATE OR REPLACE VIEW all_{table} AS SELECT {columns} FROM ({rows})"


def define_views(connection: Any, k: int) -> None:
    """Make the views on base relations that are there already.

    In a file of `sql/`, `{ranked:TEMPLATE}` repeats TEMPLATE for every rank 1..K, with `#` standing for the rank and
    commas between.

    Args:
        connection: a DuckDB connection or cursor.
        k: the number of ranked candidates the base relations have columns for.
    """
    for view in ("attempt_spans", *VIEWS):
        template = (files(__package__) / "sql" / f"{view}.sql").read_text(encoding="utf-8")
        connection.execute(fill_ranks(template, k))


def fill_ranks(template: str, k: int) -> str:
    """Expand the placeholders of a view's SQL for K ranks."""
    while (start := template.find("{ranked:")) >= 0:
        end = template.index("}", start)
        body = template[start + len("{ranked:") : end]
        filled = ", ".join(body.replace("#", str(rank)) for rank in range(1, k + 1))
        template = template[:start] + filled + template[end + 1 :]
    return template


def columns_of(table: TableName, k: int) -> Mapping[str, str]:
    """Column name → what it means, for K ranks."""
    return {name: column.doc for name, column in expand(COLUMNS[table], k)}
