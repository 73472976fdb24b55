"""The report: one file that loads nothing, says what the store found, and escapes what it was told."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from commands import command
from simko.dashboard.report import Block, Report, run_report, study_report, to_html, write_images
from simko.dashboard.report.document import ReportFailed
from simko.store.demo.small_run import write_demonstration_run
from simko.store.layout.manifest import read_manifest
from simko.store.study import open_study
from synthetic import Made, write_study

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    """Four methods with three seeds, one control, and one run that is missing, whose name must be escaped."""
    made = []
    for place, (label, method) in enumerate((("GRPO", "grpo"), ("PSR", "psr"), ("NSR", "nsr"), ("SimKO", "simko"))):
        for seed in (1, 2, 3):
            end = 0.02 + 0.01 * place + 0.001 * seed
            made.append(Made(label, method, seed, np.array([0.2, 0.1, end]), (-0.3, -0.1 - 0.02 * place)))
    made.append(Made("GRPO", "grpo", 1, [0.2, 0.15, 0.1], role="frontier", scale=0.5))
    return write_study(tmp_path_factory.mktemp("study"), made, planned_only=(EVIL,))


@pytest.fixture(scope="module")
def study_page(study_folder):
    """The study's report, its verdicts, and its page."""
    with open_study(study_folder) as study:
        report, result = study_report(study)
    return report, result, to_html(report)


def figures(page):
    return json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1].replace("<\\/", "</"))


def test_a_study_report_shows_every_table_and_figure_and_loads_nothing(study_page):
    report, result, page = study_page
    titles = [block.title for block in report.blocks]
    assert titles[:2] == ["Verdicts", "After training"]
    for title in (
        "Λ(k) under each method",
        "pass@k curves",
        "What pushes Λ(k)",
        "pass@1 and pass@k",
        "At equal pass@1",
    ):
        assert title in titles
    assert "The same rollouts under another loss" in titles and "Missing runs" in titles
    assert len(figures(page)) == sum(block.figure is not None for block in report.blocks) >= 9
    assert all(verdict.claim in page for verdict in result.verdicts)
    html_alone = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(src|href)\s*=\s*"(?!#)', html_alone)
    assert "@import" not in html_alone and "url(" not in html_alone


def test_what_a_run_is_called_is_text(study_page):
    _, _, page = study_page
    assert EVIL not in page
    assert "&lt;script&gt;alert" in page
    evil = Report(EVIL, EVIL, [Block(EVIL, EVIL, pd.DataFrame({EVIL: [EVIL]}))])
    assert EVIL not in to_html(evil)


def test_a_run_report_shows_the_runs_of_a_folder(tmp_path):
    for name in ("one", "two"):
        write_demonstration_run(tmp_path, name=name, steps=6, seed=len(name))
    both, one = run_report(tmp_path), run_report(tmp_path / "one")
    assert both.title == "2 runs" and one.title == "Run one"
    assert {"Λ(k) over steps", "pass@k curves", "Entropy of tokens over training"} <= {b.title for b in both.blocks}
    names = {trace.get("name") for figure in figures(to_html(both)) for trace in figure["data"]}
    assert {"one", "two"} <= names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no run named nowhere"),
        (["."], "has logged anything yet"),
        (["one", "--output", "no/such/folder.html"], "cannot write no/such/folder.html"),
        ([], "the following arguments are required: folder"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    if "one" in arguments:
        write_demonstration_run(tmp_path, name="one", steps=2)
    done = command("simko", "report", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout in ("", f"reading {arguments[0] if arguments else None}\n")
    assert done.stderr.startswith("simko report: ") and message in done.stderr and done.stderr.count("\n") == 1


def test_the_command_prints_the_verdicts_and_writes_the_file(study_folder, tmp_path):
    done = command("simko", "report", str(study_folder), "--output", str(tmp_path / "r.html"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "SimKO keeps the distribution spread" in done.stdout and "report: " in done.stdout
    assert (tmp_path / "r.html").stat().st_size > 1_000_000  # Plotly's script is in it


def test_no_figures_no_images(tmp_path):
    assert write_images(Report("t", "", [Block("words")]), tmp_path / "png") == []


def test_images_that_cannot_be_written_say_so(tmp_path):
    (tmp_path / "taken").write_text("")
    import plotly.graph_objects as go

    figure = go.Figure().update_layout(height=200)
    with pytest.raises(ReportFailed, match="taken"):
        write_images(Report("t", "", [Block("f", figure=figure)]), tmp_path / "taken")


def test_a_damaged_page_is_named_in_the_report(tmp_path):
    for name in ("hurt", "whole"):
        write_demonstration_run(tmp_path, name=name, steps=6, responses=8)
    part = next(part.path for part in read_manifest(tmp_path / "hurt").parts if part.table == "rollups")
    content = bytearray(part.read_bytes())
    content[50:400] = bytes(350)
    part.write_bytes(content)
    report = run_report(tmp_path)
    assert part.name in report.subtitle and "left out" in report.subtitle
    assert "whole" in to_html(report)
