"""`simko ls`, `simko show`, `simko diff`: which runs there are, one run at a glance, two runs beside each other.

simko ls runs/                     every run as it stands
simko show runs/first              options, attempts, figures at start and end, cost, and what could not be read
simko diff runs/grpo runs/simko    options that differ, and figures on the same problems and steps

For programs the same figures come from `simko query overview --format json` and the views. Exit code 2 where a folder
is no run; a run with damaged files is shown as far as it goes, with the damage named on stderr.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..store.analysis.run_comparison import Figure, differing, incomparable, pass_at_k_figures, step_figures
from ..store.analysis.run_summary import cost_line, legend
from ..store.errors import RunNotFound
from ..store.reading.catalog import Catalog
from ..store.reading.incomplete_steps import incomplete_steps
from ..store.reading.loaded_runs import Run
from ..store.reading.named_queries import named_query
from .answers import printable
from .parser import Parser
from .run_summary import summary_table

_SAME_EVERYWHERE = ("task", "model", "method")
_ROLLOUT_STEPS = """
SELECT min(gap) FROM (
    SELECT step - lag(step) OVER (ORDER BY step) AS gap FROM (SELECT DISTINCT step FROM responses)
)
"""


def ls_main(argv: list[str]) -> int:
    """Run `simko ls`; returns the exit code.

    Raises:
        SimkoError: an option is wrong, or a folder does not exist.
    """
    parser = Parser(prog="simko ls", description="Every run as it stands.")
    parser.add_argument("folder", nargs="*", default=["runs"], help="a run or a folder of runs (default: runs)")
    catalog = _opened(parser.parse_args(argv).folder)
    result = catalog.connection.execute(named_query("overview").sql).df()
    if result.empty:
        print("no runs there yet; `simko-train --probe` makes one, `simko demo` shows what one looks like")
        return 0
    same = {name: result[name].iloc[0] for name in _SAME_EVERYWHERE if result[name].nunique(dropna=False) == 1}
    same = {name: value for name, value in same.items() if isinstance(value, str) and len(result) > 1}
    most = result["most"].dropna().unique()
    table = _table(
        *("run", "status", *(name for name in reversed(_SAME_EVERYWHERE) if name not in same)),
        numbers=("step", "Λ(1)", "Λ(2)", "Λ(3)", "pass@1", _pass_at(most), "MB", "begun"),
    )
    for row in result.to_dict("records"):
        texts = [row[name] for name in ("run", "status", *reversed(_SAME_EVERYWHERE)) if name not in same]
        at = f" @{row['most']:.0f}" if len(most) > 1 and not pd.isna(row["most"]) else ""
        numbers = [_number(row["last_step"], "{:.0f}"), *(_number(row[f"lambda_{k}"], "{:.3f}") for k in (1, 2, 3))]
        numbers += [_number(row["pass_1"], "{:.3f}"), _number(row["pass_most"], "{:.3f}") + at]
        _row(table, *texts, *numbers, _number(row["n_bytes"] / 1e6, "{:.1f}"), _minute(row["created"]))
    _print(table)
    if same:
        print("all: " + ", ".join(f"{name} {printable(value)}" for name, value in same.items()))
    return 0


def show_main(argv: list[str]) -> int:
    """Run `simko show`; returns the exit code.

    Raises:
        SimkoError: an option is wrong, or the folder is no run.
    """
    parser = Parser(prog="simko show", description="One run at a glance.")
    parser.add_argument("run", type=Path, help="the run's folder")
    folder = parser.parse_args(argv).run
    catalog, run = _one(folder)
    stands = catalog.connection.execute("SELECT * FROM runs").df().iloc[0]
    print(f"{printable(run.name)}: {stands.status}, {_number(stands.last_step, '{:.0f}') or 'no'} steps")
    facts = {name: run.info.get(name) for name in ("method", "model", "task", "dataset", "created")}
    facts |= _mapping(run.info, "hyperparameters")
    facts |= {f"probe: {name}": value for name, value in _mapping(run.info, "probe").items()}
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if value is not None:
            print(f"  {printable(name):<{width}}  {printable(str(value))}")
    print()
    attempts = _table("attempt", "status", "begun", "ended", numbers=("from step", "ranks", "dropped"))
    for attempt in run.manifest.attempts:
        row = (attempt.attempt, attempt.status, _minute(attempt.started), _minute(attempt.ended))
        _row(attempts, *row, attempt.start_step, attempt.world_size, attempt.dropped)
    _print(attempts)
    window = _rollout_steps(catalog.connection)
    _print(summary_table(catalog.connection, window))
    print(legend(window))
    for line in filter(None, (cost_line(catalog.connection), *incomplete_steps(catalog.connection))):
        print(printable(line))
    return 0


def diff_main(argv: list[str]) -> int:
    """Run `simko diff`; returns the exit code.

    Raises:
        SimkoError: an option is wrong, or a folder is no run.
    """
    parser = Parser(prog="simko diff", description="Two runs beside each other.")
    parser.add_argument("first", type=Path, help="a run's folder")
    parser.add_argument("second", type=Path, help="another run's folder; changes are second minus first")
    options = parser.parse_args(argv)
    (ours, first), (theirs, second) = _one(options.first), _one(options.second)
    names = [first.name, second.name] if first.name != second.name else [str(first.path), str(second.path)]
    table = _table("option", *names)
    entries = differing(first.info, second.info)
    for entry in entries:
        _row(table, *("–" if value is None else value for value in entry))
    _print(table) if entries else print("every option is the same")
    window = max(_rollout_steps(ours.connection), _rollout_steps(theirs.connection))
    figures = pass_at_k_figures(ours.connection, theirs.connection)
    figures += step_figures(ours.connection, theirs.connection, window)
    if figures:
        _print(_figures(figures, names))
        for basis in dict.fromkeys(figure.basis for figure in figures):
            print(f"{', '.join(figure.name for figure in figures if figure.basis == basis)}: {printable(basis)}")
        print("one run of each: no interval here covers other seeds, which `simko study` does")
    else:
        print("the runs have no step in common: no figures to compare")
    for line in incomparable(first.info, second.info):
        print(f"different {printable(line)}")
    return 0


def _figures(figures: Sequence[Figure], names: Sequence[str]) -> Table:
    table = _table("", numbers=(*names, "change", "from … to"))
    for figure in figures:
        span = "" if math.isnan(figure.low) else f"{figure.low:+.3f} … {figure.high:+.3f}"
        values = (f"{figure.first:.3f}", f"{figure.second:.3f}", f"{figure.change:+.3f}")
        _row(table, figure.name, *values, span)
    return table


def _opened(folders: Sequence[str | Path]) -> Catalog:
    """The runs that can be read; what is left out is said."""
    catalog = Catalog(folders)
    catalog.leave_out_damaged_sums()
    for problem in catalog.problems:
        print(f"warning: {printable(problem)}", file=sys.stderr)
    return catalog


def _one(folder: Path) -> tuple[Catalog, Run]:
    """The run of a folder.

    Raises:
        RunNotFound: it is none, or holds several.
    """
    catalog = _opened([folder])
    if len(catalog.runs) != 1 or catalog.runs[0].path != folder:
        names = ", ".join(printable(run.name) for run in catalog.runs[:5])
        raise RunNotFound(f"{folder} is no run" + (f"; it holds runs: {names}" if names else ""))
    return catalog, catalog.runs[0]


def _rollout_steps(connection: duckdb.DuckDBPyConnection) -> int:
    """Optimizer steps that train on one rollout batch, as far as the log tells."""
    result = connection.execute(_ROLLOUT_STEPS).fetchone()
    return int(result[0]) if result and result[0] else 1


def _mapping(info: dict[str, Any], name: str) -> dict[str, Any]:
    value = info.get(name)
    return value if isinstance(value, dict) else {}


def _table(*headings: str, numbers: Sequence[str] = ()) -> Table:
    """A table without lines: columns of text, then columns of numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (*headings, *numbers):
        table.add_column(Text(printable(heading)), justify="left" if heading in headings else "right", no_wrap=True)
    return table


def _row(table: Table, *values: Any) -> None:
    """Text of a run is no markup and steers no terminal."""
    table.add_row(*(Text(printable("" if value is None else str(value))) for value in values))


def _print(table: Table) -> None:
    """At its natural width: a long line can be scrolled to, a name cut short cannot be typed."""
    console = Console()
    console.width = max(
        console.width, Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    )
    console.print(table, soft_wrap=True)
    console.print()


def _number(value: Any, form: str) -> str:
    return "" if value is None or pd.isna(value) else form.format(value)


def _pass_at(ks: Sequence[float]) -> str:
    return f"pass@{ks[0]:.0f}" if len(ks) == 1 else "pass@K"


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")
