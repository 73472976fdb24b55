"""The countdown task against a brute force that shares no code with it."""

from __future__ import annotations

import itertools

import pytest
from simko.trainers.errors import TaskOptionRefused, TaskUnknown
from simko.trainers.tasks import Task, task_for
from simko.trainers.tasks.countdown import evaluate_left_to_right, expressions, problems, split


def brute_force():
    """{(numbers, target): set of right answers}, by Python's own arithmetic with explicit parentheses."""
    result = {}
    for a, b, c in itertools.product(range(1, 10), repeat=3):
        for first in "+-*":
            for second in "+-*":
                value = eval(f"(({a}) {first} {b}) {second} {c}")
                if 1 <= value <= 50:
                    key = tuple(sorted((a, b, c))), value
                    result.setdefault(key, set()).add(f"{a} {first} {b} {second} {c}")
    return result


@pytest.fixture(scope="module")
def task():
    return task_for("countdown")


def test_every_solvable_problem_lists_every_right_answer_once():
    expected = brute_force()
    assert {(p.numbers, p.target): set(p.answers) for p in problems()} == expected
    assert all(len(p.answers) == len(set(p.answers)) for p in problems())


def test_there_are_as_many_problems_as_documented():
    parts = split()
    assert len(problems()) == 1570
    assert [len(part) for part in (parts.train, parts.validation, parts.heldout)] == [1195, 99, 276]
    assert sum(len(p.answers) for p in problems()) == 4200
    multisets = [{p.numbers for p in part} for part in (parts.train, parts.validation, parts.heldout)]
    assert [len(part) for part in multisets] == [124, 10, 31]


@pytest.mark.parametrize("count", [3, 4])
def test_no_part_shares_its_numbers_with_another(count):
    parts = split(count)
    multisets = [{p.numbers for p in part} for part in (parts.train, parts.validation, parts.heldout)]
    assert all(not a & b for a, b in itertools.combinations(multisets, 2))
    if count == 3:
        assert {*parts.train, *parts.validation, *parts.heldout} == set(problems())


def test_four_numbers_follow_the_same_rules():
    parts = split(4)
    assert len(problems(4)) == 13449
    assert [len(part) for part in (parts.train, parts.validation, parts.heldout)] == [10150, 120, 300]
    for problem in parts.heldout[::30]:
        expected = {
            text
            for text in expressions(problem.numbers)
            if eval("((({}) {} {}) {} {}) {} {}".format(*text.split())) == problem.target
        }
        assert set(problem.answers) == expected
    task = task_for("countdown4")
    first = parts.heldout[0]
    assert task.judge([first.answers[0], "1 + 1 + 1 + 1"], [list(first.answers)] * 2) == ["right", "wrong"]
    assert task.heldout["prompt_id"][0].startswith("countdown4-")


def test_the_tree_has_six_right_paths_of_sixty_four():
    task = task_for("tree")
    assert isinstance(task, Task) and task.validation is None
    texts = [" ".join(path) for path in itertools.product("ABCD", repeat=3)]
    verdicts = task.judge(texts, [task.heldout["answer"][0]] * 64)
    right = {text.replace(" ", "") for text, v in zip(texts, verdicts, strict=True) if v == "right"}
    assert right == {"ACD", "ACB", "BDC", "BDA", "CAB", "DBA"}
    assert set(task.train["prompt_id"]) == {"tree"} and len(task.train) == 64


def test_operators_have_no_precedence():
    assert evaluate_left_to_right(["2", "+", "3", "*", "4"]) == 20
    assert evaluate_left_to_right(["2", "-", "3", "*", "4"]) == -4


@pytest.mark.parametrize(("numbers", "count"), [((1, 2, 3), 54), ((1, 1, 3), 27), ((4, 4, 4), 9)])
def test_equal_numbers_do_not_make_an_expression_twice(numbers, count):
    made = list(expressions(numbers))
    assert len(made) == len(set(made)) == count


def test_data_sets_have_the_columns_of_a_task(task):
    assert isinstance(task, Task)
    for rows in (task.train, task.validation, task.heldout):
        assert rows.column_names == ["prompt", "prompt_id", "answer"]
    ids = [*task.train["prompt_id"], *task.validation["prompt_id"], *task.heldout["prompt_id"]]
    assert len(set(ids)) == 1570
    row = next(r for r in (*task.train, *task.validation, *task.heldout) if r["prompt_id"] == "countdown-3-4-5-35")
    assert row == {"prompt": "3 4 5 35", "prompt_id": "countdown-3-4-5-35", "answer": ["3 + 4 * 5", "4 + 3 * 5"]}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("3 + 4 * 5", "right"),
        ("4 + 3 * 5", "right"),
        ("  3 + 4 *  5 ", "right"),  # blanks are the decoder's business, not the policy's
        ("5 * 4 + 3", "wrong"),  # 23
        ("3 + 4 * 6", "wrong"),  # a number that was not given
        ("5 * 7", "wrong"),  # 35, from other numbers
        ("5 + 5 * 4 - 5", "wrong"),  # 35, one number too often
        ("3 + 4 * 5 +", "wrong"),
        ("3 + 4 * 5 + 5 - 5", "wrong"),
        ("3 4 + 5 *", "wrong"),
        ("(3 + 4) * 5", "wrong"),
        ("3 + 4", "wrong"),
        ("", "wrong"),
    ],
)
def test_the_judge_takes_right_answers_and_nothing_else(task, text, verdict):
    assert task.judge([text], [["3 + 4 * 5", "4 + 3 * 5"]]) == [verdict]


def test_the_judge_agrees_with_arithmetic_on_every_expression(task):
    for problem in problems()[::25]:
        texts = list(expressions(problem.numbers))
        truth = [eval("(({}) {} {}) {} {}".format(*text.split())) == problem.target for text in texts]
        verdicts = task.judge(texts, [list(problem.answers)] * len(texts))
        assert [v == "right" for v in verdicts] == truth
        assert "unjudged" not in verdicts


def test_the_judge_wants_one_answer_a_response(task):
    with pytest.raises(ValueError):
        task.judge(["1 + 1 + 1"], [])


def test_countdown_refuses_a_data_set():
    with pytest.raises(TaskOptionRefused, match="--dataset"):
        task_for("countdown", dataset="problems.jsonl")


def test_an_unknown_task_is_named_beside_those_there_are():
    with pytest.raises(TaskUnknown, match=r"sudoku.*countdown"):
        task_for("sudoku")
