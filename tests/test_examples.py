"""Every example runs as it stands, in an empty folder, and its log says what it should."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import simko.store

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = {path.stem: path for path in EXAMPLES.glob("*.py")}
LOGGED = {
    "plain_loop": ("runs/plain-loop", 10, {"right", "wrong"}),
    "stock_trl": ("runs/stock-trl", 10, {"unjudged"}),
    "hf_trainer_sft": ("runs/sft", 20, {"unjudged"}),
    "peft_lora": ("runs/lora", 10, {"right", "wrong"}),
}
"""Example → its run, the steps it logs, and the verdicts of its responses."""


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Run an example's file as a user would, in an empty folder."""

    def run(name):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS[name])])
        runpy.run_path(str(SCRIPTS[name]), run_name="__main__")
        return tmp_path

    return run


@pytest.mark.parametrize("name", LOGGED)
def test_it_logs_every_step_it_trains(name, example):
    folder, steps, verdicts = LOGGED[name]
    with simko.store.open(example(name) / folder) as connection:

        def ask(sql):
            return connection.execute(sql).fetchall()

        assert ask("SELECT status, last_step, dropped FROM runs") == [("finished", steps, 0)]
        assert {v for (v,) in ask("SELECT DISTINCT verdict FROM rollups WHERE complete")} == verdicts
        first = [v for (v,) in ask("SELECT lambda_k FROM lambda_k WHERE verdict = 'all' AND step = 1 ORDER BY k")]
        assert 0 > first[0] > first[1] > first[2]
        assert ask("SELECT count(*) FROM tokens WHERE text IS NULL OR rank < 1") == [(0,)]
        if "right" in verdicts:  # the loss was seen as well
            pushed = "SELECT count(*) FROM push WHERE k = 1 AND verdict = 'all' AND push IS NOT NULL"
            assert ask(pushed) == [(steps,)]


def test_scoring_needs_no_run(example, capsys):
    folder = example("offline_scoring")
    last = capsys.readouterr().out.splitlines()[-1]
    values = [float(number) for number in re.findall(r"Λ\(\d\) = (-[\d.]+)", last)]
    assert len(values) == 3
    assert values == sorted(values, reverse=True)
    assert not list(folder.iterdir())


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "read_a_run.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "commit the notebook without outputs"
            exec(compile("".join(cell["source"]), f"read_a_run.ipynb {cell['id']}", "exec"), names)
    names["connection"].close()
    assert list(names["runs"]["run"]) == ["grpo", "simko"]
    assert set(names["lambda_k"]["k"]) == {1, 2, 3}
    assert len(names["figure"].data) == 6
    assert names["pass_at_k"].groupby("run")["step"].nunique().tolist() == [2, 2]
    assert len(names["open_choices"]) == 10


def test_every_example_is_in_the_list_with_its_command():
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| \[([\w.]+)\]\(\1\) \|", page, re.M))
    assert listed == {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert set(LOGGED) | {"offline_scoring"} == set(SCRIPTS)
    for name in SCRIPTS:
        assert f"`python examples/{name}.py" in page


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_is_short(name):
    assert len(SCRIPTS[name].read_text(encoding="utf-8").splitlines()) <= 40
