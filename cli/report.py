"""`simko report`: a study, a run or a folder of runs as one HTML file that needs no network.

simko report runs/paper-laptop              writes runs/paper-laptop/report.html and prints the verdicts
simko report runs/my-run --png figures      and every figure as a PNG in `figures`
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..store.study import is_study, open_study
from .parser import Parser


def _parser() -> Parser:
    parser = Parser(prog="simko report", description="Write a study, a run or a folder of runs as one HTML file.")
    parser.add_argument("folder", type=Path, help="a study's folder, a run's, or one that holds runs")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: FOLDER/report.html)")
    parser.add_argument("--png", type=Path, metavar="DIR", help="also write every figure as a PNG (needs simko[png])")
    return parser


def report_main(argv: list[str]) -> int:
    """Run the sub-command; returns the exit code.

    Raises:
        SimkoError: nothing to report on, or the report cannot be written.
    """
    options = _parser().parse_args(argv)
    from ..dashboard.report import run_report, study_report, to_html, write_images
    from ..dashboard.report.document import ReportFailed

    if is_study(options.folder):
        with open_study(options.folder) as study:
            report, result = study_report(study)
        _print_tables(result)
    else:
        report = run_report(options.folder)
    output = options.output or options.folder / "report.html"
    try:
        output.write_text(to_html(report), encoding="utf-8")
    except OSError as error:
        raise ReportFailed(f"cannot write {output}: {error.strerror}; choose another --output") from error
    print(f"report: {output}")
    if options.png is not None:
        images = write_images(report, options.png)
        print(f"figures: {len(images)} in {options.png}")
    return 0


def _print_tables(result: object) -> None:
    """The verdicts and the results as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..store.analysis.tables import Findings

    assert isinstance(result, Findings)
    console = Console(width=None if sys.stdout.isatty() else 10_000)  # a pipe has no width
    for section in result.sections:
        if section.title not in ("Verdicts", "After training", "Right answers kept", "Missing runs"):
            continue
        table = Table(title=section.title, title_justify="left")
        for name in section.table.columns:
            table.add_column(str(name))
        for row in section.table.itertuples(index=False):
            table.add_row(*(Text(str(cell)) for cell in row))
        console.print(table)
