"""Each verifier on a puzzle of our own; what no response may do; and the table of differences."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from pathlib import Path

import pytest
from puzzles import CASES, DIFFERENCES, NO_ERRORS, NO_MINES, NO_MISTAKE, UNKNOWN, VALID, python
from simko.trainers.tasks.synlogic import (
    EXCEPTIONS,
    VERIFIERS,
    Judgement,
    PuzzleUnreadable,
    answer_text,
    judge,
    judge_json,
    problem_of,
)

DOCS = Path(__file__).parents[3] / "docs"
RESPONSES = [
    (task, kind, response)
    for task, case in CASES.items()
    for kind, responses in (("right", case.right), ("wrong", case.wrong), ("damaged", case.damaged))
    for response in responses
]


def judged(case, task, response, **options):
    return judge_json(response, problem_of(case.row(task))[1], **options)


def test_every_task_has_cases_of_every_kind():
    assert set(CASES) == set(VERIFIERS)
    assert len(VERIFIERS) == 35
    assert all(case.right and case.wrong and case.damaged for case in CASES.values())


@pytest.mark.parametrize(("task", "kind", "response"), RESPONSES)
def test_responses(task, kind, response):
    ours = judged(CASES[task], task, response)
    assert ours.verdict == ("right" if kind == "right" else "wrong")
    assert ours.exception is None
    assert ours.extracted or kind != "right"


@pytest.mark.parametrize("task", CASES)
def test_tags(task):
    right, wrong = CASES[task].right[0], CASES[task].wrong[0]
    answer = f"<think>Maybe {wrong}?</think>\n<answer>\n{right}\n</answer> or <answer>{wrong}</answer>"
    assert judged(CASES[task], task, answer if "<answer>" not in right else right).verdict == "right"
    assert judged(CASES[task], task, f"<think>{right}</think><answer>{wrong}</answer>").verdict == "wrong"
    assert judged(CASES[task], task, "").extracted is False


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_every_difference_from_the_published_verifiers_is_shown(kind):
    case, response = DIFFERENCES[kind]
    ours = judged(case, kind.split(".")[0], response)
    assert ours == Judgement(EXCEPTIONS[kind].ours, extracted=not kind.endswith(".no_answer"), exception=kind)
    assert {ours.verdict, ours.published} == {"right", "wrong"}


@pytest.mark.parametrize(
    ("task", "case", "response", "verdict"),
    [
        ("dyck_language_errors", VALID, "-1", "right"),
        ("dyck_language_errors", VALID, "the sequence is VALID", "right"),
        ("dyck_language_errors", VALID, "不合法，不，合法", "right"),
        ("dyck_language_errors", VALID, "3", "wrong"),
        ("dyck_language_reasoning_errors", NO_ERRORS, "", "right"),
        ("dyck_language_reasoning_errors", NO_ERRORS, '""', "right"),
        ("dyck_language_reasoning_errors", NO_ERRORS, "No errors", "right"),
        ("dyck_language_reasoning_errors", NO_ERRORS, "3", "wrong"),
        ("minesweeper", NO_MINES, "None: []", "right"),
        ("minesweeper", NO_MINES, "[(0, 0)]", "wrong"),
        ("object_properties", UNKNOWN, r"\boxed{4}", "wrong"),
        ("object_properties", UNKNOWN, "unknown", "wrong"),
        ("word_sorting_mistake", NO_MISTAKE, r"\boxed{no}", "right"),
        ("word_sorting_mistake", NO_MISTAKE, r"\boxed{1}", "wrong"),
        ("futoshiki", DIFFERENCES["futoshiki.givens"][0], "[[2 1,1 2]]", "right"),
        ("math_path", DIFFERENCES["math_path.no_equation"][0], "[[3-4=-1]]", "right"),
        ("math_path", DIFFERENCES["math_path.no_equation"][0], "[[2-1-1]]", "wrong"),
        ("arrow_maze", DIFFERENCES["arrow_maze.digit_in_blank"][0], '[["1", "→", "↑"]]', "wrong"),
    ],
)
def test_puzzles_with_an_answer_of_another_kind(task, case, response, verdict):
    assert judged(case, task, response).verdict == verdict


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ("a <answer> b </answer> <answer>c</answer>", "b"),
        ("<answer>x</answer></think><answer>y</answer>", "y"),
        ("<answer>x</answer></think>y", "<answer>x</answer></think>y"),
        ("</think>a</think><answer>b</answer>", "</think>a</think><answer>b</answer>"),
        ("</answer><answer>b", "</answer><answer>b"),
        ("<answer></answer>", ""),
    ],
)
def test_the_text_of_the_first_answer_after_the_first_thought_is_judged(response, text):
    assert answer_text(response) == text
    assert answer_text(response, tags=False) == response


def test_a_problem_keeps_what_its_verifier_needs_alone():
    row = CASES["time_sequence"].row("val/time_sequence")
    prompt, answer = problem_of(row)
    assert prompt == "What is it?"
    assert json.loads(answer) == {
        "task": "time_sequence",
        "answer": "",
        "game_data": {"metadata": {"records": {"answers": {"answer_maxLen": 45, "answer_nums": 3}}}},
    }
    assert json.loads(problem_of(CASES["futoshiki"].row("futoshiki"))[1])["game_data"]["question"]
    assert judge("mathador", python("4*6*1*1"), "", {"metadata": CASES["game_of_24"].metadata}).verdict == "right"


NEEDED = [(task, name) for task, verifier in VERIFIERS.items() for name in verifier.needs]
MAY_BE_ANYTHING = {"is_valid", "first_error_pos"}
BROKEN = (None, {"a": 1}, [None], -1.5, [[]])


@pytest.mark.parametrize(("task", "name"), NEEDED)
def test_a_puzzle_without_its_data_is_refused_and_never_judged(task, name):
    case = CASES[task]
    top = name.split(".")[0]
    for metadata in (
        {key: value for key, value in case.metadata.items() if key != top},
        *({**case.metadata, top: value} for value in BROKEN if top not in MAY_BE_ANYTHING),
    ):
        broken = dataclasses.replace(case, metadata=metadata)
        assert judge(task, case.right[0], "", {"metadata": metadata, "question": case.question}).verdict == "unjudged"
        with pytest.raises(PuzzleUnreadable):
            problem_of(broken.row(task))


def test_an_answer_of_another_type_is_never_judged():
    for task, answer in (("operation", "many"), ("zebra_puzzle", "[]"), ("arc_agi", "3"), ("buggy_tables", 3.5),
                         ("object_counting", "a few"), ("cipher", None), ("cryptarithm", ["1+1=2"])):  # fmt: skip
        assert judge(task, CASES[task].right[0], answer, {}).verdict == "unjudged"
        with pytest.raises(PuzzleUnreadable):
            problem_of(dataclasses.replace(CASES[task], answer=answer).row(task) | {"reward_model": None})


def test_rows_of_another_layout_are_refused():
    for row in ({}, {"data_source": "sudoku", "prompt": [{}]}, {"data_source": 1, "prompt": ""}):
        with pytest.raises(PuzzleUnreadable, match="SynLogic row"):
            problem_of(row)
    with pytest.raises(PuzzleUnreadable, match="no verifier for the task 'chess'"):
        problem_of(CASES["sudoku"].row("chess"))
    assert judge_json("4", "no JSON").verdict == judge_json("4", "[]").verdict == "unjudged"
    assert judge("chess", "e4", "e4", {}).verdict == "unjudged"


PIECES = ("[[", "((1,", "{", "\\boxed{", "```python\n", "1,", '[["1",', "1+", "-", "9", " ", "\n", "(1,2),", "[]", "**")


@pytest.mark.parametrize("task", CASES)
def test_no_response_takes_long(task):
    """CPU time, some thirty times what it needs: a quadratic search needs a minute."""
    answer = problem_of(CASES[task].row(task))[1]
    start = time.process_time()
    for piece in PIECES:
        text = (piece * (40_000 // len(piece)))[:40_000]
        assert judge_json(text, answer).verdict == judge_json(f"```python\n{text}\n```", answer).verdict == "wrong"
    assert time.process_time() - start < 5


@pytest.mark.parametrize("task", CASES)
def test_absurd_lengths_depths_and_numbers_are_wrong(task):
    for text in (
        "9" * 99_999,
        "[" * 99_999,
        "(" * 50_000 + ")" * 49_999,
        "x" * 10**6,
        '[["' + "1" * 9_000 + '"]]',
        "\x00",
    ):
        assert judged(CASES[task], task, text).verdict == "wrong"


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", (DOCS / "verifiers.md").read_text(), re.S))
def test_the_documented_code_says_what_it_says(code, capsys):
    exec(compile(code, "docs/verifiers.md", "exec"), {})
    assert capsys.readouterr().out.split() == re.findall(r"# (\w+)$", code, re.M) != []


def test_the_documented_differences_are_the_code_s():
    listed = (DOCS / "verifiers.md").read_text()
    for kind, difference in EXCEPTIONS.items():
        assert f"| `{kind}` | {difference.ours} | {difference.reason} |" in listed
