"""The table that ends `simko eval` and that `simko show` has of an evaluated run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...store.analysis.benchmark_results import BenchmarkResult, PassAtK, benchmark_results
from ...store.layout.schema import K_SHOWN
from ...store.reading.catalog import Catalog
from .next_commands import installed_command, quoted
from .output import printable
from .tables import Cell, Column, Table

_QUERY = "SELECT step, benchmark, k, pass_at_k FROM pass_at_k WHERE benchmark IS NOT NULL ORDER BY ALL"


def print_evaluations(evaluations: Sequence[tuple[Path, str, str]], everything: bool) -> None:
    """Print what evaluations found.

    Args:
        evaluations: the run's folder, the evaluation's identity, and the policy's name, of each.
        everything: every column, however wide.
    """
    rows: list[tuple[str, BenchmarkResult]] = []
    catalogs: dict[Path, Any] = {}
    for run_dir, evaluation, name in evaluations:
        if run_dir not in catalogs:
            catalogs[run_dir] = Catalog(run_dir, nested=False).connection
        rows += [(name, result) for result in benchmark_results(catalogs[run_dir], evaluation)]
    print()
    evaluation_table(rows).print(everything=everything)
    print("95 % bootstrap intervals over problems")
    for run_dir in catalogs:
        print(f"ask it:     {quoted(installed_command('simko'))} query {quoted(_QUERY)} --runs {quoted(str(run_dir))}")


def print_evaluations_of(connection: Any, *, everything: bool) -> None:
    """Print the newest evaluation of each benchmark and step of a run, and how far those are that are not complete.

    Args:
        connection: with the views, on the run.
        everything: every column, however wide.
    """
    newest = connection.execute(
        "SELECT evaluation, checkpoint FROM evaluations WHERE newest ORDER BY benchmark, step"
    ).fetchall()
    rows = [(name, result) for evaluation, name in newest for result in benchmark_results(connection, evaluation)]
    if rows:
        print()
        evaluation_table(rows).print(everything=everything)
    unfinished = connection.execute(
        "SELECT checkpoint, benchmark, units_done, units, status FROM evaluations WHERE NOT complete ORDER BY ALL"
    ).fetchall()
    for name, benchmark, done, units, status in unfinished:
        print(
            f"{printable(f'{name} {benchmark}')}: {done} of {units} blocks, {status}; no figures before all are there"
        )


def evaluation_table(rows: Sequence[tuple[str, BenchmarkResult]]) -> Table:
    """A row per policy, benchmark and source."""
    table = Table(
        Column("checkpoint", wraps=True),
        Column("benchmark", importance=8),
        Column("source", importance=3),
        *(Column(f"pass@{k}", numeric=True, importance=9 if k in (1, 256) else 7) for k in K_SHOWN),
        Column("problems", numeric=True, importance=4),
        Column("samples", numeric=True, importance=4),
        Column("truncated", numeric=True, importance=6),
        Column("no answer", numeric=True, importance=5),
        Column("unjudged", numeric=True, importance=5),
    )
    for name, result in rows:
        at = {point.k: point for point in result.curve}
        table.add(
            name,
            result.benchmark,
            result.source,
            *(_interval(at.get(k)) for k in K_SHOWN),
            result.n_problems,
            result.samples if result.source == "sampled" else None,
            *(_share(share) for share in (result.truncated, result.unextracted, result.unjudged)),
        )
    return table


def _interval(point: PassAtK | None) -> Cell:
    if point is None:
        return ""
    if point.low != point.low:
        return lambda fewer: f"{point.mean:.{3 - min(fewer, 1)}f}"
    return lambda fewer: "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(point.mean, point.low, point.high, d=3 - min(fewer, 1))


def _share(share: float | None) -> Cell:
    return "" if share is None else f"{share:.1%}"
