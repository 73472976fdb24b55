"""`docs/evaluation.md`: its commands are ones that there are, its queries run and answer."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from evaluations import write_evaluation
from simko.cli.eval import parser
from simko.cli.simko import main
from simko.store import Catalog
from simko.store.demo.small_run import write_demonstration_run
from simko.trainers.evaluation.benchmarks import check_benchmark

PAGE = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]


def test_the_first_command_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(COMMANDS[0][1:]) == 0
    assert "pass@8" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_options_and_benchmarks_that_there_are(command):
    assert command[:2] == ["simko", "eval"]
    options = parser().parse_args(command[2:])
    for name in (options.benchmarks or "").split(","):
        if name:
            check_benchmark(name)


def test_every_query_answers(tmp_path):
    run = write_demonstration_run(tmp_path, name="first", steps=6, responses=8)
    write_evaluation(run, step=2)
    write_evaluation(run, "ba9876543210", step=4)
    connection = Catalog(run).connection
    queries = re.findall(r"```sql\n(.*?)```", PAGE, re.S)
    answers = [connection.execute(query.replace("k = 256", "k = 2")).fetchall() for query in queries]
    assert len(queries) == 4
    assert [len(answer) for answer in answers] == [2, 4, 2, 0]
    assert answers[2] == [(2, pytest.approx(1 / 3), 3), (4, pytest.approx(1 / 3), 3)]
