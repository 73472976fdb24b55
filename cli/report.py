"""`simko report`: a study, a run or a folder of runs as one HTML file that needs no network.

simko report runs/paper-laptop              writes runs/paper-laptop/report.html and prints the verdicts
simko report runs/my-run --png figures      and every figure as a PNG in `figures`
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..store.errors import UsageError
from ..store.extras import require
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, runs_of

if TYPE_CHECKING:
    from ..store.analysis.tables import Findings

_PRINTED = ("Verdicts", "After training", "Right answers kept", "Missing runs")


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko report", description="Write a study, a run or a folder of runs as one HTML file.")
    parser.add_argument("folder", help="a study, a run, or a folder that holds runs, by name or path")
    add_runs_option(parser)
    parser.add_argument(
        "--output", metavar="FILE", help="where to write (default: report.html in the folder, of s3:// in this one)"
    )
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="write every figure as a PNG too (needs simko[png])")
    parser.add_argument("--all", action="store_true", help="every column of the tables, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: nothing to report on, or the report cannot be written.
    """
    if options.output is not None and not Path(options.output).name:
        raise UsageError(f"--output {options.output!r} is no file; give the path of the file to write")

    require("plotly", "streamlit", extra="dashboard")
    from ..dashboard.report import diagnosis_report, run_report, study_report, to_html, write_images
    from ..dashboard.report.document import ReportFailed
    from ..store.analysis.diagnosis import diagnosis_of
    from ..store.analysis.diagnosis_folder import is_diagnosis
    from ..store.analysis.study_folder import is_study, open_study
    from ..store.remote.address import is_copy

    folder = find_run(options.folder, runs_of(options))
    print(f"reading {folder}", flush=True)
    if is_study(folder):
        with open_study(folder) as study:
            report, result = study_report(study)
        _print_tables(result, everything=options.all)
    elif is_diagnosis(folder):
        report = diagnosis_report(diagnosis_of(folder))
    else:
        report = run_report(folder)
    output = Path(options.output or ("report.html" if is_copy(folder) else folder / "report.html"))
    try:
        output.write_text(to_html(report), encoding="utf-8")
    except OSError as error:
        raise ReportFailed(f"cannot write {output}: {error.strerror}; choose another --output") from error
    print(f"report: {output}")
    if options.png is not None:
        images = write_images(report, options.png)
        print(f"figures: {len(images)} in {options.png}")
    return 0


def _print_tables(result: Findings, *, everything: bool) -> None:
    """The verdicts and the results as tables."""
    from .terminal.tables import Column, Table

    for section in result.sections:
        if section.title in _PRINTED:
            table = Table(*(Column(str(name), wraps=True) for name in section.table.columns))
            for row in section.table.itertuples(index=False):
                table.add(*row)
            print(f"{section.title}\n")
            table.print(everything=everything)
            print()
