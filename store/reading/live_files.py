"""The Parquet files of a table that count, and which of their rows do: what a reader without this package needs.

    for file in simko.store.files("runs/first", "tokens"):
        rows WHERE attempt = file.attempt AND step BETWEEN file.first_step AND file.last_step

A glob over a run's folder is silently wrong: it counts the rows of a dead attempt, and merged rows twice. The files
here are those of the views, after a resume, a merge and a collection; `simko files` prints them.

Invariant: the rows of all files within their spans are the rows of the view of that name. Of `evals` two things are
left to the reader: of a step that two attempts evaluated the newest counts, and an evaluation beside training has
several rows per problem to add up (`select` does the first).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import QueryFailed
from ..layout.manifest_file import Part, altered
from ..layout.schema import TableName
from .catalog import Catalog
from .loaded_runs import Run
from .views import quote

_NEWEST = " QUALIFY attempt = max(attempt) OVER (PARTITION BY step, split, source)"
"""Of the evaluations within training: a resumed run evaluates the step it starts from once more."""
_SMALL = 4_000_000
"""Bytes of a file that is always read to its end: it takes a millisecond."""


@dataclass(frozen=True)
class LiveFile:
    """One Parquet file with rows that count.

    Attributes:
        run: its name.
        table: which table's rows it holds.
        path: absolute.
        attempt: which start of the run wrote it, as its column `attempt` says; None of an evaluation beside training.
        rank: the process of that attempt; None likewise.
        evaluation: the evaluation beside training that wrote it, or None.
        rows, bytes: all its rows, also those that do not count, and its size.
        first_step, last_step: the steps of the attempt whose rows count, the same for all files of the attempt. None of
            an evaluation beside training: all rows count.
        partly: whether it also holds rows outside these steps.
        verified: whether its bytes were read and have their checksum. False: it was not read to its end (`verify`), or
            was written before there were checksums.
        schema_version: of the run.
        k: ranked candidates it has columns for; None of an evaluation beside training, or where nothing says.
        world_size: processes of the attempt: a step is complete once each has its row in `rollups`.
    """

    run: str
    table: TableName
    path: Path
    attempt: int | None
    rank: int | None
    evaluation: str | None
    rows: int
    bytes: int
    first_step: int | None
    last_step: int | None
    partly: bool
    verified: bool
    schema_version: int
    k: int | None
    world_size: int | None


def files(
    folder: str | Path | Sequence[str | Path] = "runs", table: TableName = "tokens", *, verify: bool = False
) -> list[LiveFile]:
    """The files of a table that count, by run and in the order they were written.

    What could not be read is warned about; use `live_files` to get it as a list.

    Args:
        folder: a run, a folder of runs, or a list of either.
        table: `tokens`, `responses`, `rollups`, `evals`, `costs` or `samples`.
        verify: read every file to its end. Otherwise only small tables are, and others where they are small.

    Raises:
        RunNotFound: the folder does not exist.
    """
    result, problems = live_files(folder, table, verify=verify)
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return result


def live_files(
    folder: str | Path | Sequence[str | Path], table: TableName, *, verify: bool = False, nested: bool = True
) -> tuple[list[LiveFile], list[str]]:
    """As `files`, and a line about everything that is left out.

    Raises:
        RunNotFound: the folder does not exist.
    """
    catalog = Catalog(folder, views=(), nested=nested, tables=(table,))
    problems = list(catalog.problems)
    rows = catalog.connection.execute("SELECT run, attempt, last_step FROM attempt_spans").fetchall()
    ends = {(run, attempt): last for run, attempt, last in rows}
    attempts = catalog.connection.execute("SELECT run, attempt, probe_k, world_size FROM attempts").fetchall()
    says = {(run, attempt): (k, world_size) for run, attempt, k, world_size in attempts}
    result: list[LiveFile] = []
    for run in catalog.runs:
        read = set(catalog.files[table][run.name])
        parts = [part for part in run.manifest.parts if part.table == table and part.path in read]
        verified: dict[Part, bool] = {}
        for part in parts:
            # Reading small ones twice takes less than keeping account of who has read them.
            problem = altered(part) if verify or part.bytes <= _SMALL else None
            problems += [problem] if problem else []
            if not problem:
                verified[part] = part.checksum is not None and (verify or part.bytes <= _SMALL)
        result += _own(run, table, verified, ends, says)
        result += _beside(run, table, verified, problems)
    return result, list(dict.fromkeys(problems))


def _own(
    run: Run,
    table: TableName,
    verified: dict[Part, bool],
    ends: dict[tuple[str, int], int],
    says: dict[tuple[str, int], tuple[int | None, int]],
) -> list[LiveFile]:
    """The files that the attempts of a run wrote."""
    parts = [part for part in verified if part.evaluation is None]
    parts = [part for part in parts if part.first_step <= ends.get((run.name, part.attempt), -1)]
    spans: dict[int, tuple[int, int]] = {}
    for part in parts:
        first, last = spans.get(part.attempt, (part.first_step, part.first_step))
        spans[part.attempt] = min(first, part.first_step), max(last, part.last_step)
    result = []
    for part in parts:
        first, last = spans[part.attempt]
        last = min(last, ends[run.name, part.attempt])
        k, world_size = says[run.name, part.attempt]
        result.append(
            LiveFile(
                run=run.name,
                table=table,
                path=_absolute(part),
                attempt=part.attempt,
                rank=part.rank,
                evaluation=None,
                rows=part.rows,
                bytes=part.bytes,
                first_step=first,
                last_step=last,
                partly=part.last_step > last,
                verified=verified[part],
                schema_version=int(run.info["schema_version"]),
                k=k,
                world_size=world_size,
            )
        )
    return result


def _beside(run: Run, table: TableName, verified: dict[Part, bool], problems: list[str]) -> list[LiveFile]:
    """The files of evaluations beside training; counts of one that is not complete are left out, as in the view."""
    incomplete = {file.evaluation: file for file in run.manifest.evaluations if table == "evals" and not file.complete}
    parts = [part for part in verified if part.evaluation is not None]
    for name in sorted({part.evaluation for part in parts if part.evaluation} & set(incomplete)):
        file = incomplete[name]
        problems.append(
            f"{file.path}: {len(file.done)} of {file.units} units done; its counts are left out until all are"
        )
    return [
        LiveFile(
            run=run.name,
            table=table,
            path=_absolute(part),
            attempt=None,
            rank=None,
            evaluation=part.evaluation,
            rows=part.rows,
            bytes=part.bytes,
            first_step=None,
            last_step=None,
            partly=False,
            verified=verified[part],
            schema_version=int(run.info["schema_version"]),
            k=None,
            world_size=None,
        )
        for part in parts
        if part.evaluation not in incomplete
    ]


def _absolute(part: Part) -> Path:
    return Path(os.path.abspath(part.path))


def select(files: Sequence[LiveFile]) -> str:
    """A SELECT of the rows that count, `run` first, for any DuckDB.

    Raises:
        QueryFailed: there is no file, and so nothing says which columns there are.
    """
    if not files:
        raise QueryFailed("no file holds rows that count, so there is nothing to select")
    result = []
    for run in dict.fromkeys(file.run for file in files):
        own = [file for file in files if file.run == run and file.attempt is not None]
        beside = [file for file in files if file.run == run and file.attempt is None]
        if own:
            spans = dict.fromkeys((file.attempt, file.first_step, file.last_step) for file in own)
            counts = " OR ".join(f"(attempt = {a} AND step BETWEEN {first} AND {last})" for a, first, last in spans)
            newest = _NEWEST if own[0].table == "evals" else ""
            result.append(f"{_rows(run, own)}\nWHERE {counts}{newest}")
        if beside:
            result.append(_rows(run, beside))
    return "\nUNION ALL BY NAME\n".join(result)


def _rows(run: str, files: Sequence[LiveFile]) -> str:
    paths = ",\n  ".join(quote(str(file.path)) for file in files)
    return f"SELECT {quote(run)} AS run, * FROM read_parquet([\n  {paths}\n], union_by_name = true)"


def twice_evaluated(files: Sequence[LiveFile]) -> list[str]:
    """A line for each run of which two attempts may have evaluated one step, so that only the newest rows count."""
    lines = []
    for run in dict.fromkeys(file.run for file in files if file.table == "evals"):
        spans = sorted({(f.attempt, f.first_step, f.last_step) for f in files if f.run == run and f.attempt})
        both = {
            first: (old, new)
            for old, _, last in spans
            for new, first, _ in spans
            if old < new and first is not None and last is not None and first <= last
        }
        lines += [
            f"{run}: attempts {old} and {new} both evaluated from step {step} on; of one step, split and source the "
            "newest attempt counts (as in --format sql)"
            for step, (old, new) in both.items()
        ]
    return lines
