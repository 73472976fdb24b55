from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
from simko.trainers.engine.rewards import TaskReward
from simko.trainers.errors import TaskUnknown
from simko.trainers.tasks import Task, task_for


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {n}+{n}?", "answer": f"#### {2 * n}"} for n in (1, 2, 3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["gsm8k", "math"])
def test_the_tasks_of_that_name(source: str, name: str) -> None:
    task = task_for(name, dataset=source, tokenizer=tiny.tokenizer())
    assert isinstance(task, Task)
    assert task.name == name and not task.enumerates_answers and task.max_completion_length >= 512
    assert task.heldout is None
    assert task.train["answer"][:] == ["2", "4", "6"]
    assert set(task.train.column_names) == {"prompt", "prompt_id", "answer"}


def test_plain_text_without_a_chat_template_and_messages_with_one(source: str) -> None:
    tokenizer = tiny.tokenizer()
    plain = task_for("gsm8k", dataset=source, tokenizer=tokenizer).train["prompt"][0]
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    chat = task_for("gsm8k", dataset=source, tokenizer=tokenizer).train["prompt"][0]
    assert isinstance(plain, str) and "What is 1+1?" in plain and "\\boxed{}" in plain
    assert chat[-1]["role"] == "user"
    assert "What is 1+1?" in chat[-1]["content"] and "\\boxed{}" in chat[-1]["content"]


def test_held_out_problems_and_limits(source: str) -> None:
    task = task_for("math", dataset=source, eval_dataset=source, limit=1, eval_limit=2)
    assert len(task.train) == 1 and len(task.heldout) == 2


def test_judging_and_closing(source: str) -> None:
    task = task_for("gsm8k", dataset=source)
    try:
        assert task.judge(["so \\boxed{2}", "so \\boxed{3}", "no"], ["2", "2", "2"]) == ["right", "wrong", "wrong"]
    finally:
        task.close()


def test_a_reward_logs_how_often_the_graders_disagree(source: str) -> None:
    logged: dict[str, float] = {}
    with TaskReward(task_for("math", dataset=source)) as reward:
        responses = [r"\boxed{2\text{ cm}^3}", r"\boxed{2}", r"\boxed{3}", "no"]
        rewards = reward(responses, [r"2\text{ cm}^2", "2", "2", "2"], log_metric=logged.__setitem__)
    assert rewards == [0.0, 1.0, 0.0, 0.0]
    assert logged == {"unjudged": 0.0, "graders_disagree": 0.25}


def test_a_task_with_one_judge_logs_no_disagreement() -> None:
    logged: dict[str, float] = {}
    with TaskReward(task_for("countdown")) as reward:
        reward(["1"], [["1"]], log_metric=logged.__setitem__)
    assert set(logged) == {"unjudged"}


def test_an_unknown_task_is_told_with_those_there_are() -> None:
    with pytest.raises(TaskUnknown, match="choose from countdown, countdown4, tree, math, gsm8k_math1, gsm8k"):
        task_for("xyzzy")
