"""`docs/methods.md` and `docs/study.md` say what is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from simko.trainers.options.methods import table
from simko.trainers.study.plan import Plan
from simko.trainers.study.specification import load, shipped
from synthetic import Made, write_study

DOCS = Path(__file__).parents[2] / "docs"
STUDY = (DOCS / "study.md").read_text()


def test_the_table_of_methods_is_the_registry():
    """Made by `python -m simko.trainers.options.methods`."""
    assert table() in (DOCS / "methods.md").read_text()


def test_the_shipped_studies_are_listed():
    listed = re.findall(r"^\| `([\w-]+)` \|", STUDY, re.M)
    assert sorted(listed) == sorted(shipped())


def test_the_example_file_can_be_planned(tmp_path):
    path = tmp_path / "my-study.yaml"
    path.write_text(re.search(r"```yaml\n(.*?)```", STUDY, re.S)[1])
    plan = Plan(load(str(path)), tmp_path / "runs")
    assert {run.label for run in plan.compared({})} == {"GRPO", "SimKO", "SimKO after warm-up", "grpo lr0.25x", *(
        f"grpo lr{scale}x" for scale in ("0.5", "2")
    )}  # fmt: skip


def test_the_page_on_smollm2_says_what_its_study_does():
    page, study = (DOCS / "smollm2.md").read_text(), load("smollm2")
    options = dict(pair.split("=") for pair in study.options["task_options"].split(","))
    assert (options["min_words"], options["max_words"]) == ("5", "10") and "five to ten words" in page
    assert f"{options['heldout_size']} held-out problems" in page
    assert f"{options['validation_size']} validation problems" in page
    steps, every = study.entries[0].options["max_steps"], study.options["pass_at_k_steps"]
    assert f"{steps} steps" in page and f"steps 0, {every} and {steps}" in page and len(study.seeds) == 3
    responses, group = study.options["per_device_train_batch_size"], study.options["num_generations"]
    assert f"{responses // group} prompts × {group} responses" in page
    pilot = study.selection.shared
    assert pilot["learning_rate"] == (1e-6, 3e-6, 1e-5) and f"after {pilot['max_steps'][0]} steps of GRPO" in page


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", STUDY, re.S))
def test_the_example_code_runs(code, tmp_path, monkeypatch, capsys):
    made = [Made("GRPO", "grpo", seed, [0.2, 0.1, 0.05]) for seed in (1, 2)]
    write_study(tmp_path / "runs" / "my-study", made)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/study.md", "exec"), {})
    assert "After training" in capsys.readouterr().out


def test_the_tasks_are_told_with_their_sources_and_sizes():
    from simko.trainers.tasks.catalogue import CATALOGUE, STYLES
    from simko.trainers.tasks.reasoning_gym import EVALUATES

    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for name, entry in CATALOGUE.items():
        (row,) = [row for row in rows if f"`{name}`" in row or f"`{name}:TASK`" in row]
        sources = [] if entry.name == "gsm8k_math1" or entry.grader in ("listed", "reasoning_gym") else [entry.source]
        assert all(f"`{source}`" in row for source in sources), name
        assert entry.rows is None or f"{entry.rows:,}".replace(",", " ") in row, name
    assert all(f"`{name}`" in text for name in (*STYLES, *EVALUATES))
