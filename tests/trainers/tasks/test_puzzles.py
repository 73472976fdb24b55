"""SynLogic and BIG-Bench Hard as tasks: whole, in part, from files, and files that are something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from simko.store.errors import SimkoError
from simko.trainers.tasks import Task, bbh, task_for
from simko.trainers.tasks.catalogue import BENCHMARKS, benchmark_for


def subtask(folder: Path, name: str, *examples: tuple[str, str]) -> Path:
    rows = [{"input": question, "target": target} for question, target in examples]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"canary": "none", "examples": rows}), encoding="utf-8")
    return path


@pytest.fixture
def hard(tmp_path: Path) -> Path:
    subtask(tmp_path, "navigate", ("Do you return?", "Yes"), ("Do you return now?", "No"))
    subtask(tmp_path, "object_counting", ("How many spoons?", "3"))
    subtask(tmp_path, "notes", ("?", "!"))
    return tmp_path


def sudoku_row(**changes: Any) -> dict[str, Any]:
    data = {"question": "Which letters?", "answer": "A,C", "metadata": {}}
    return {
        "data_source": "boolean_expressions",
        "prompt": [{"role": "user", "content": "Which letters?"}],
        "reward_model": {"ground_truth": "A,C", "style": "rule"},
        "extra_info": {"game_data_str": json.dumps(data)},
    } | changes


def test_a_folder_is_the_whole_benchmark_and_its_gaps_are_told(hard: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = benchmark_for("bbh", dataset=str(hard))
    assert isinstance(task, Task)
    assert task.heldout["prompt_id"][:] == ["navigate-0", "navigate-1", "object_counting-0"]
    assert "lacks 25 of 27 subtasks" in caplog.text and "3 rows, not 6511" in caplog.text
    assert task.heldout["prompt"][0].endswith(f"{bbh.INSTRUCTION}\n\nA:")
    texts = ["The answer is Yes.", "The answer is Yes.", "Three? The answer is 3."]
    assert task.judge(texts, task.heldout["answer"]) == ["right", "wrong", "right"]


@pytest.mark.parametrize("where", ["", "navigate.json"])
def test_one_subtask_of_a_folder_or_a_file(hard: Path, where: str) -> None:
    task = benchmark_for("bbh:navigate", dataset=str(hard / where), prompt_style="few_shot")
    assert task.heldout["prompt_id"][:] == ["navigate-0", "navigate-1"]
    assert (
        task.heldout["prompt"][0].endswith("Q: Do you return?\nA:") and bbh.INSTRUCTION not in task.heldout["prompt"][0]
    )
    texts = [" So the answer is Yes.\n\nQ: Is the answer No?\nA: No.", "", "I am not sure"]
    assert task.judge(texts, [task.heldout["answer"][0]] * 3) == ["right", "wrong", "wrong"]
    assert task.extracted(texts) == [True, False, False]
    assert task.extracted(["I am not sure"]) == [True]  # not the batch judged: it says something


def test_every_subtask_has_its_name() -> None:
    assert {f"bbh:{name}" for name in bbh.SUBTASKS} < set(BENCHMARKS) and len(bbh.SUBTASKS) == 27


def test_rows_that_cannot_be_judged_are_left_out_and_the_others_keep_their_identity(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    subtask(tmp_path, "ruin_names", ("?", "nothing"), ("?", "(B)"))
    task = benchmark_for("bbh:ruin_names", dataset=str(tmp_path))
    assert task.heldout["prompt_id"][:] == ["ruin_names-1"]
    assert "1 of 2 rows" in caplog.text and "ruin_names-0" in caplog.text


def test_logic_to_train_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [sudoku_row(), sudoku_row(data_source="chess"), sudoku_row(prompt="Which letters?")]
    path = tmp_path / "logic.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = task_for("synlogic", dataset=str(path), eval_dataset=str(path), eval_limit=1)
    assert isinstance(task, Task) and (len(task.train), len(task.heldout)) == (2, 1)
    assert "1 of 3 rows" in caplog.text and "chess" in caplog.text
    assert "Which letters?" in task.train["prompt"][0]
    assert task.judge([r"\boxed{A,C}", r"\boxed{A}"], task.train["answer"]) == ["right", "wrong"]


@pytest.mark.parametrize(
    ("name", "files", "where", "words"),
    [
        ("bbh:navigat", {}, "", "did you mean bbh:navigate"),
        (
            "bbh",
            {"navigate.json": {"input": "?", "target": "Yes"}},
            "navigate.json",
            "one file is given as bbh:SUBTASK",
        ),
        ("bbh", {"rows.json": {"input": "?", "target": "Yes"}}, "", "a folder of files named after subtasks"),
        (
            "bbh:navigate",
            {"navigate.json": {"question": "?", "answer": "Yes"}},
            "",
            "answer; wanted are `input`",
        ),
        ("bbh:navigate", {"navigate.json": {"input": "?", "target": 3}}, "", "no row of"),
        (
            "synlogic",
            {"rows.json": {"question": "?", "answer": "1"}},
            "rows.json",
            "answer; wanted are `data_",
        ),
        ("synlogic", {"rows.json": sudoku_row(data_source="chess")}, "rows.json", "no verifier for the task 'chess'"),
        ("synlogic", {"rows.json": sudoku_row(extra_info={})}, "rows.json", "extra_info.game_data_str"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, name: str, files: dict[str, Any], where: str, words: str) -> None:
    for file, row in files.items():
        (tmp_path / file).write_text(json.dumps([row]), encoding="utf-8")
    with pytest.raises(SimkoError) as fault:
        benchmark_for(name, dataset=str(tmp_path / where))
    assert words in str(fault.value) and "\n" not in str(fault.value)
