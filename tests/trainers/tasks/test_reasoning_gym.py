"""Generated problems: two parts that share nothing, the package's scorer, and options that are wrong."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.store.errors import SimkoError
from simko.trainers.errors import PackageMissing, TaskOptionRefused
from simko.trainers.tasks import Task, reasoning_gym, task_for
from simko.trainers.tasks.catalogue import benchmark_for
from simko.trainers.tasks.task_options import read_options

pytest.importorskip("reasoning_gym", exc_type=ImportError)
SMALL = {"size": 12, "heldout_size": 6, "max_words": 2, "min_words": 1}


@pytest.fixture(scope="module")
def counting() -> Any:
    return task_for("reasoning_gym:letter_counting", options=SMALL, prompt_style="few_shot")


def questions(prompts: Any) -> set[str]:
    return {prompt.rsplit("Question:", 1)[1] for prompt in prompts}


def test_parts_share_no_problem_and_no_example(counting: Any) -> None:
    assert isinstance(counting, Task)
    train, heldout = questions(counting.train["prompt"]), questions(counting.heldout["prompt"])
    assert (len(train), len(heldout)) == (12, 6) and not train & heldout
    shown = set(counting.train["prompt"][0].split("Question:")[1:-1])
    assert len(shown) == 3 and not any(
        question.split("\n")[0] in text for question in train | heldout for text in shown
    )


def test_validation_problems_are_a_third_part_and_leave_the_others_as_they_are(counting: Any) -> None:
    assert counting.validation is None
    task = task_for("reasoning_gym:letter_counting", options={**SMALL, "validation_size": 8}, prompt_style="few_shot")
    parts = [questions(part["prompt"]) for part in (task.train, task.heldout, task.validation)]
    assert [len(part) for part in parts] == [12, 6, 8] and len(set.union(*parts)) == 26
    assert task.heldout["prompt"][:] == counting.heldout["prompt"][:]
    answer = task.validation["answer"][0]
    assert task.judge([json.loads(answer)["answer"], "no"], [answer] * 2) == ["right", "wrong"]


def test_problems_are_the_same_every_time_and_others_with_another_seed(counting: Any) -> None:
    again = task_for("reasoning_gym:letter_counting", options=SMALL, prompt_style="few_shot")
    assert again.train["prompt"][:] == counting.train["prompt"][:]
    other = task_for("reasoning_gym:letter_counting", options={**SMALL, "seed": 1}, prompt_style="few_shot")
    assert other.train["prompt"][:] != counting.train["prompt"][:]


def test_the_line_after_examples_is_judged(counting: Any) -> None:
    answers = counting.heldout["answer"][:2]
    right = json.loads(answers[0])["answer"]
    texts = [f" {right}", f" {right}\nQuestion: more?", " 77", "", f"\n{right}"]
    assert counting.judge(texts, [answers[0]] * 5) == ["right", "right", "wrong", "wrong", "wrong"]
    assert counting.extracted(texts) == [True, True, True, False, False]
    assert counting.stop == ("\n",) and counting.settings.prompt == "few_shot"


def test_other_prompts_ask_for_tags() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    task = task_for("reasoning_gym:letter_counting", options=SMALL, tokenizer=tokenizer)
    answer = task.train["answer"][0]
    right = json.loads(answer)["answer"]
    assert "<answer>" in task.train["prompt"][0][-1]["content"]
    texts = [f"<answer>9</answer> no, <answer> {right} </answer>", right]
    assert task.judge(texts, [answer] * 2) == ["right", "wrong"] and task.extracted(texts) == [True, False]


def test_a_scorer_that_fails_leaves_the_response_unjudged(counting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(counting._parts["heldout"], "score_answer", fails)
    assert counting.judge(["3"], counting.heldout["answer"][:1]) == ["unjudged"]


def test_as_a_benchmark() -> None:
    assert len(benchmark_for("reasoning_gym:gcd", limit=3).heldout) == 3
    with pytest.raises(TaskOptionRefused, match="leave out --dataset"):
        benchmark_for("reasoning_gym:gcd", dataset="x.jsonl")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("leter_counting", None, "did you mean reasoning_gym:letter_counting"),
        ("", None, "there are ab, "),
        ("countdown", None, "runs the response as Python code"),
        ("gcd", "max_number=3", "did you mean max_numbers"),
        ("gcd", "xyzzy=3", "there are heldout_size, "),
        ("gcd", "size=0", "size must be a whole number from 1"),
        ("gcd", "size=true", "size must be"),
        ("gcd", "seed=1401", "seed must be a whole number from 0 to 1400"),
        ("gcd", "validation_size=-1", "validation_size must be a whole number from 0"),
        ("gcd", "min_numbers=0", "refuses the task options"),
        ("gcd", "size", "NAME=VALUE"),
        ("gcd", "{size: 1", "not valid JSON"),
        ("gcd", "size=1,size=2", "gives size twice"),
        ("letter_counting", {"min_words": 1, "max_words": 1, "heldout_size": 5000}, "of 1000 train problems, each"),
    ],
)
def test_what_is_wrong_is_told(name: str, options: Any, words: str) -> None:
    with pytest.raises(SimkoError, match=re.escape(words)) as fault:
        task_for(f"reasoning_gym:{name}", options=options)
    assert "\n" not in str(fault.value)


def test_a_file_is_refused() -> None:
    with pytest.raises(TaskOptionRefused, match="makes its own problems"):
        task_for("reasoning_gym:gcd", dataset="x.jsonl")


def test_every_scorer_that_evaluates_a_response_is_refused() -> None:
    """Read off the package's source; those named here evaluate only what the package itself has written."""
    own = {"number_sorting", "bitwise_arithmetic", "propositional_logic", "codeio", "basic_arithmetic"}
    spec = find_spec("reasoning_gym")
    assert spec is not None and spec.submodule_search_locations
    found = set()
    for path in Path(spec.submodule_search_locations[0]).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        name = re.search(r'^DATASET_NAME\s*=\s*"(\w+)"', text, re.MULTILINE)
        if name and re.search(r"\b(eval|exec|parse_expr|sympify|parse_latex)\(", text):
            found.add(name.group(1))
    assert found - own == reasoning_gym.EVALUATES


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    reasoning_gym.known_names.cache_clear()
    monkeypatch.setattr(reasoning_gym, "find_spec", lambda _: None)
    with pytest.raises(PackageMissing, match="simko\\[reasoning-gym\\]"):
        reasoning_gym.check_name("gcd")


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.one_of(st.integers(), st.booleans())))
def test_options_are_read_back(options: dict[str, Any]) -> None:
    assert read_options(json.dumps(options)) == options
    assert read_options(",".join(f"{name}={json.dumps(value)}" for name, value in options.items())) == options
