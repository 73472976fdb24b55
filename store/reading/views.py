"""SQL of the base relations over Parquet files, and of the views of `sql/*.sql` on top of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..layout.schema import K_GRID, TableName, arrow_schema

VIEWS = (
    "tokens",
    "responses",
    "rollups",
    "steps",
    "evals",
    "samples",
    "lambda_k",
    "problems",
    "pass_at_k",
    "pass_hat_k",
    "concentration",
    "push",
    "token_push",
    "entropy_push",
    "token_entropy_push",
    "mismatch",
    "token_gradient",
    "runs",
    "costs",
    "run_costs",
)
"""The views, in the order they are made, after `attempt_spans` and `vocabulary`; each is a file in `sql/`."""

_TYPES = {pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.float32(): "FLOAT", pa.float64(): "DOUBLE"}
_TYPES |= {pa.bool_(): "BOOLEAN", pa.string(): "VARCHAR", pa.list_(pa.int64()): "BIGINT[]"}


def define_views(connection: Any, k: int, views: Sequence[str] = VIEWS) -> None:
    """Make the views on base relations that are there already.

    In a file of `sql/`, `{ranked:TEMPLATE}` repeats TEMPLATE for every rank 1..K, with `#` standing for the rank and
    commas between; `{k_grid}` is the k of pass@k.

    Args:
        connection: a DuckDB connection or cursor.
        k: the number of ranked candidates the base relations have columns for.
        views: those to make, with what they rest on before them.
    """
    for view in ("attempt_spans", "vocabulary", *views):
        template = (files(__package__) / "sql" / f"{view}.sql").read_text(encoding="utf-8")
        template = template.replace("{k_grid}", ", ".join(map(str, K_GRID)))
        connection.execute(fill_ranks(template, k))


def fill_ranks(template: str, k: int) -> str:
    """Expand the placeholders of a view's SQL for K ranks."""
    while (start := template.find("{ranked:")) >= 0:
        end = template.index("}", start)
        body = template[start + len("{ranked:") : end]
        filled = ", ".join(body.replace("#", str(rank)) for rank in range(1, k + 1))
        template = template[:start] + filled + template[end + 1 :]
    return template


def sql_type(type_: pa.DataType) -> str:
    """DuckDB's name of a column's type."""
    return _TYPES[type_]


def empty_relation(table: TableName, k: int) -> str:
    """A SELECT of the table's columns, `run` first, with their types and no rows."""
    columns = [f"NULL::{_TYPES[field.type]} AS {field.name}" for field in arrow_schema(table, k)]
    return f"SELECT NULL::VARCHAR AS run, {', '.join(columns)} WHERE false"


def select_parts(table: TableName, run: str, paths: Sequence[Path]) -> str:
    """A SELECT of every column of some Parquet files of one run, `run` first."""
    return f"SELECT {quote(run)} AS run, * FROM read_parquet([{_listed(paths)}], union_by_name = true)"


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(quote(str(path)) for path in paths)


def column_types(table: TableName, k: int) -> dict[str, str]:
    """Column of `all_<table>` → its type."""
    return {field.name: _TYPES[field.type] for field in arrow_schema(table, k)}


def parts_relation(table: TableName, paths: Mapping[str, Sequence[Path]], k: int) -> str:
    """SQL that makes `all_<table>` over each run's files, with exactly the schema's columns.

    The files of all runs that are called like their folders are one relation, whose files tell the run: it stays as
    short for a thousand runs as for two, and a filter on `run` opens that run's files alone.
    """
    columns = ", ".join(["run", *arrow_schema(table, k).names])
    alike = {run: listed for run, listed in paths.items() if all(path.parts[-3:-2] == (run,) for path in listed)}
    together = [path for listed in alike.values() for path in listed] if len(alike) > 1 else []
    parts = [
        select_parts(table, run, listed) for run, listed in paths.items() if listed and not (together and run in alike)
    ]
    if together:
        parts.append(
            "SELECT parse_path(filename)[-3] AS run, * EXCLUDE (filename) "
            f"FROM read_parquet([{_listed(together)}], union_by_name = true, filename = true)"
        )
    rows = " UNION ALL BY NAME ".join([empty_relation(table, k), *parts])
    return f"CREATE OR REPLACE VIEW all_{table} AS SELECT {columns} FROM ({rows})"


def texts_relation(files: Mapping[str, Path]) -> str:
    """SQL that makes the view `texts` over vocabularies by their checksums."""
    parts = [f"SELECT {quote(key)} AS vocabulary, * FROM ({select_texts(path)})" for key, path in files.items()]
    empty = "SELECT NULL::VARCHAR AS vocabulary, NULL::INTEGER AS token_id, NULL::VARCHAR AS text WHERE false"
    return "CREATE OR REPLACE VIEW texts AS " + " UNION ALL ".join([*parts, empty])


def select_texts(path: Path) -> str:
    """A SELECT of the tokens and their texts in a vocabulary."""
    return f"SELECT token_id::INTEGER AS token_id, text::VARCHAR AS text FROM read_parquet({quote(str(path))})"


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"
