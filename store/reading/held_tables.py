"""The rows of the query `overview` for a thousand runs: each file is opened once, for the columns that are shown.

    catalog, rows, names = overview(["runs"])

The catalog's own relations open every file each time a view is made or asked, and merge the columns of all. Here the
few columns that `overview` rests on are read into memory in one pass per table, and the store's views are asked over
them. Costs are not read, because the figures shown come from the manifests; responses are read only for runs whose
evaluations tell no pass@k, as the query prefers those.

One pass takes the types of the first file for all. That is right where files are seen to be what a recorder wrote: by
their checksums, which `load_runs` has compared. Files without them go through the catalog, which looks at each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from ..layout.manifest_file import Part
from ..layout.schema import TableName
from .catalog import Catalog
from .loaded_runs import Run, largest_k
from .named_queries import named_query
from .views import column_types, empty_relation, quote

VIEWS = ("responses", "rollups", "steps", "evals", "lambda_k", "problems", "pass_at_k", "runs", "costs", "run_costs")
"""What the overview rests on."""
_RANKS = 3
"""Λ(1..3) are shown."""
_COLUMNS: Mapping[TableName, Sequence[str]] = {
    "rollups": ("attempt", "step", "worker", "verdict", "n_responses", "n_tokens", "n_nonfinite"),
    "evals": ("attempt", "step", "split", "source", "n", "c", "success"),
    "responses": ("attempt", "generation", "step", "worker", "group_id", "verdict"),
}


def overview(folder: str | Path | Sequence[str | Path]) -> tuple[Catalog, list[dict[str, Any]]]:
    """The rows of the query `overview`, and the catalog whose `problems` say what could not be read.

    Args:
        folder: a run, a folder of runs, or a list of either.

    Raises:
        RunNotFound: the folder does not exist.
    """
    catalog = Catalog(folder, VIEWS, tables=())
    # Rows of a thousand files in their order would wait for each other in memory; no figure here depends on it.
    catalog.connection.execute("SET preserve_insertion_order = false")
    try:
        _hold(catalog, "rollups", catalog.runs)
        _hold(catalog, "evals", catalog.runs)
        evaluated = _evaluated(catalog.connection)
        if others := [run for run in catalog.runs if run.name not in evaluated]:
            _hold(catalog, "responses", others)
        else:
            catalog.connection.execute("CREATE OR REPLACE VIEW pass_at_k AS FROM held_pass_at_k")
    except duckdb.Error:
        catalog = Catalog(folder, VIEWS)
        catalog.leave_out_damaged_sums()
    result = catalog.connection.execute(named_query("overview").sql)
    names = [column[0] for column in result.description]
    return catalog, [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _evaluated(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Runs whose evaluations tell a pass@k that `overview` prefers to that of rollouts; it is kept, as it is dear."""
    connection.execute("CREATE TABLE held_pass_at_k AS FROM pass_at_k")
    sql = "SELECT DISTINCT run FROM held_pass_at_k WHERE source IN ('exact', 'sampled') AND k <= 256"
    return {run for (run,) in connection.execute(sql).fetchall()}


def _hold(catalog: Catalog, table: TableName, runs: Sequence[Run]) -> None:
    """Make `all_<table>` rows in memory: the columns of `_COLUMNS`, the others NULL.

    Raises:
        duckdb.Error: a file cannot be read.
    """
    k = largest_k(catalog.runs)
    types = column_types(table, k)
    passes: dict[tuple[str, ...], list[Part]] = {}
    others = []
    for run in runs:
        if (columns := _columns_of_parts(run, table)) is None:
            others.append(run)
            continue
        for part, names in columns.items():
            passes.setdefault(names, []).append(part)
    selects = []
    for names, parts in passes.items():
        values = ", ".join(f"{name}::{types[name]} AS {name}" for name in names)
        files = ", ".join(quote(str(part.path)) for part in parts)
        selects.append(
            f"SELECT parse_path(filename)[-3] AS run, {values} FROM read_parquet([{files}], filename = true)"
        )
    if others:
        catalog.open_files([table], others)
        ranked = _ranked(_RANKS) if table == "rollups" else ()
        shown = ["run", *_COLUMNS[table], *ranked]
        # Evaluations beside training say by further columns what they belong to.
        selects.append(f"SELECT {'*' if table == 'evals' else ', '.join(shown)} FROM all_{table}")
    empty = empty_relation(table, k)
    rows = " UNION ALL BY NAME ".join(selects or [empty])
    catalog.connection.execute(f"CREATE TABLE held_{table} AS {rows}")
    catalog.connection.execute(f"CREATE OR REPLACE VIEW all_{table} AS {empty} UNION ALL BY NAME FROM held_{table}")


def _columns_of_parts(run: Run, table: TableName) -> dict[Part, tuple[str, ...]] | None:
    """The columns to read of each of a run's files; None where what is in them, or whose they are, is not certain."""
    if run.path.name != run.name:
        return None
    ranks = {attempt.attempt: attempt.k for attempt in run.manifest.attempts}
    result = {}
    for part in (part for part in run.manifest.parts if part.table == table):
        k = ranks.get(part.attempt)
        if part.checksum is None or k is None:
            return None
        result[part] = (*_COLUMNS[table], *(_ranked(min(k, _RANKS)) if table == "rollups" else ()))
    return result


def _ranked(most: int) -> tuple[str, ...]:
    return tuple(f"response_sum_logp_{k}" for k in range(1, most + 1))
