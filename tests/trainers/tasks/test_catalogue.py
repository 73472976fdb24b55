"""Tasks and benchmarks by name: what each is made of, and what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import tiny
from simko.trainers.errors import ColumnsMissing, TaskOptionRefused, TaskUnknown
from simko.trainers.options.recipe_files import tasks_with_recipes
from simko.trainers.tasks import BUILT_IN, TASKS, Task, check_task, task_for
from simko.trainers.tasks.catalogue import BENCHMARKS, CATALOGUE, benchmark_for
from simko.trainers.tasks.math import mix


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def sums(tmp_path: Path) -> str:
    return lines(tmp_path / "sums.jsonl", *({"question": f"What is {n}+{n}?", "answer": 2 * n} for n in range(6)))


def test_every_training_task_has_a_recipe_and_every_recipe_a_task() -> None:
    assert sorted(TASKS) == tasks_with_recipes()
    assert set(BUILT_IN) == {"countdown", "countdown4", "tree"}


def test_the_papers_sampling() -> None:
    for name, entry in BENCHMARKS.items():
        logic = entry.grader in ("synlogic", "bbh")
        expected = (128, 0.7, 8192) if logic else (300 if name[:4] in ("amc2", "aime") else 256, 0.6, 4096)
        assert (entry.samples, entry.temperature, entry.max_completion_length) == expected, name
        assert entry.top_p == 0.95


def test_a_benchmark_is_a_task_with_its_settings(sums: str) -> None:
    task = benchmark_for("amc23", dataset=sums)
    try:
        assert isinstance(task, Task)
        assert task.train is None and len(task.heldout) == 6
        assert task.settings is not None and task.settings.samples == 300 and task.settings.prompt == "plain"
        texts = [r"\boxed{2}", "#### 2", "#### 2. Then I add", "nothing", r"\boxed{3}"]
        assert task.judge(texts, ["2"] * 5) == ["right", "right", "right", "wrong", "wrong"]
        assert task.extracted(texts) == [True, True, True, False, True]
    finally:
        task.close()


def test_fewer_problems_are_the_same_ones_each_time(sums: str) -> None:
    first, second = (benchmark_for("math500", dataset=sums, limit=3).heldout["prompt_id"][:] for _ in range(2))
    assert first == second and len(first) == 3


@pytest.mark.parametrize(("count", "words"), [(40, None), (83, "83 rows, not 40 (the AMC"), (7, "7 rows, not 40;")])
def test_another_number_of_rows_is_a_warning_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int, words: str | None
) -> None:
    source = lines(tmp_path / "amc.jsonl", *({"problem": f"{n}?", "answer": n} for n in range(count)))
    with caplog.at_level(logging.WARNING):
        benchmark_for("amc23", dataset=source)
    assert caplog.text == "" if words is None else words in caplog.text and "amc23" in caplog.text


def test_another_layout_is_refused_with_the_columns_found_and_wanted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = lines(tmp_path / "rows.jsonl", {"input": "2+2", "target": "4"})
    with pytest.raises(ColumnsMissing, match=r"input, target; wanted are .*reward_model"):
        benchmark_for("math500", dataset=source)
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("math50", "did you mean math500"),
        ("xyzzy", "there are gsm8k"),
        ("countdown", "there is no benchmark"),
    ],
)
def test_unknown_benchmarks(name: str, words: str) -> None:
    with pytest.raises(TaskUnknown, match=words):
        benchmark_for(name)


def test_what_cannot_be_trained_on_is_told() -> None:
    with pytest.raises(TaskUnknown, match="math500 is a benchmark"):
        check_task("math500")
    with pytest.raises(TaskUnknown, match="did you mean gsm8k_math1"):
        check_task("gsm8k_math")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("countdown", {"prompt_style": "few_shot"}, "writes its own prompts"),
        ("countdown", {"options": "size=3"}, "has no --task_options"),
        ("math", {"options": {"size": 3}}, "has no --task_options"),
    ],
)
def test_options_that_do_not_fit(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskOptionRefused, match=words):
        task_for(name, **options)


def test_the_llama_mix_from_a_file_and_from_its_parts(sums: str, caplog: pytest.LogCaptureFixture) -> None:
    task = task_for("gsm8k_math1", dataset=sums, tokenizer=tiny.tokenizer())
    assert len(task.train) == 6 and task.settings is not None and task.settings.rows == CATALOGUE["gsm8k_math1"].rows
    math = [{"problem": f"{n}?", "level": f"Level {n}"} for n in (1, 2, 1, 5)]
    mixed = mix([{"question": "q"}], math)
    assert mixed == [{"question": "q"}, math[0], math[2]]
    assert "has 3 problems (GSM8K 1, MATH level 1 2)" in caplog.text and "8388" in caplog.text
