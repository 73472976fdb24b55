"""The nine rules of BIG-Bench-Hard, on responses of our own."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from simko.trainers.tasks import bbh
from simko.trainers.tasks.synlogic import Judgement, PuzzleUnreadable

CASES = [
    ("snarks", "The answer is (B).", "(B)", "right"),
    ("snarks", "Not (A). The answer is (B)", "(B)", "wrong"),
    ("snarks", "Not (A). The answer is (B).", "(B)", "right"),
    ("snarks", "I take (B) over (A)", "(B)", "right"),
    ("snarks", "The answer is (b).", "(B)", "wrong"),
    ("snarks", "The answer is B.", "(B)", "wrong"),
    ("boolean_expressions", "The answer is True.", "True", "right"),
    ("boolean_expressions", "The answer is true.", "True", "wrong"),
    ("boolean_expressions", "<think>False?</think><answer>True</answer>", "True", "right"),
    ("boolean_expressions", "False, no, True", "True", "wrong"),
    ("causal_judgement", "The answer is YES.", "Yes", "right"),
    ("causal_judgement", "YES", "Yes", "wrong"),
    ("navigate", "no, they do not", "No", "right"),
    ("navigate", "The answer is yes, I think. No?", "Yes", "right"),
    ("dyck_languages", "The answer is ] ) }.", "] ) }", "right"),
    ("dyck_languages", "The answer is ] ) }", "] ) }", "wrong"),
    ("dyck_languages", " ]  )\n} ", "] ) }", "right"),
    ("dyck_languages", "The answer is ]).", "] )", "wrong"),
    ("formal_fallacies", "The answer is Invalid.", "invalid", "right"),
    ("formal_fallacies", "valid?\nThe answer is invalid.", "invalid", "right"),
    ("formal_fallacies", "It is not valid", "invalid", "wrong"),
    ("multistep_arithmetic_two", "The answer is -24.", "-24", "right"),
    ("multistep_arithmetic_two", "The answer is 24.0", "24", "right"),
    ("multistep_arithmetic_two", "The answer is 24", "24", "wrong"),
    ("object_counting", "2 and 3, so 5", "5", "wrong"),
    ("object_counting", "--5", "5", "wrong"),
    ("object_counting", "five", "5", "wrong"),
    ("sports_understanding", "This is not plausible.", "no", "right"),
    ("sports_understanding", "Plausible, yes.", "yes", "right"),
    ("sports_understanding", "no. The answer is yes.", "yes", "right"),
    ("web_of_lies", "Ann tells the truth.", "yes", "right"),
    ("web_of_lies", "Ann does not tell the truth.", "yes", "wrong"),
    ("word_sorting", "b, c, a? The answer is a b's c.", "a b's c", "right"),
    ("word_sorting", "c b's a; a b's c", "a b's c", "right"),
    ("word_sorting", "The answer is c a b's.", "a b's c", "wrong"),
    ("word_sorting", "The answer is a b's c", "a b's c", "wrong"),
]


@pytest.mark.parametrize(("subtask", "response", "target", "verdict"), CASES)
def test_responses(subtask, response, target, verdict):
    assert bbh.judge(subtask, response, target).verdict == verdict
    assert bbh.judge(f"bbh_{subtask}", response, target).verdict == verdict
    assert bbh.judge(subtask, response, target).exception is None


@pytest.mark.parametrize("subtask", bbh.SUBTASKS)
def test_every_subtask_wants_its_own_kind_of_answer(subtask):
    targets = {
        bbh.boolean: ("True", "False"), bbh.yes_no: ("Yes", "No"),
        bbh.brackets: (") ]", ") )"), bbh.words: ("a b", "a"),
        bbh.validity: ("valid", "invalid"), bbh.number: ("24", "25"), bbh.option: ("(A)", "(B)"),
    }  # fmt: skip
    right, wrong = targets.get(bbh.VERIFIERS[subtask], ("yes", "no"))
    assert bbh.judge(subtask, f"So the answer is {right}.", right) == Judgement("right")
    assert bbh.judge(subtask, f"So the answer is {wrong}.", right) == Judgement("wrong")
    assert bbh.judge(subtask, f"<think>{wrong}</think>\n<answer>{right}</answer>", right).verdict == "right"
    assert bbh.judge(subtask, "", right) == Judgement("wrong", extracted=False)
    for text in ("[" * 99_999, "-" * 99_999, "9" * 99_999, "The answer is " * 7_000, "x" * 10**6):
        assert bbh.judge(subtask, text, right).verdict == "wrong"


def test_there_are_27_subtasks():
    assert len(bbh.SUBTASKS) == len(set(bbh.SUBTASKS)) == 27


@pytest.mark.parametrize(
    ("kind", "subtask", "response", "target"),
    [
        ("cut_brackets", "dyck_languages", "The answer is ] ) )", "] )"),
        ("cut_number", "object_counting", "The answer is 24", "2"),
        ("not_valid", "formal_fallacies", "The answer is not deductively valid.", "valid"),
        ("not_valid", "formal_fallacies", "It isn't valid", "valid"),
    ],
)
def test_differences_from_the_published_verifiers(kind, subtask, response, target):
    assert bbh.judge(subtask, response, target) == Judgement(bbh.EXCEPTIONS[kind].ours, exception=kind)


def test_the_documented_differences_are_the_code_s():
    listed = (Path(__file__).parents[3] / "docs" / "verifiers.md").read_text()
    for kind, difference in bbh.EXCEPTIONS.items():
        assert f"| `{kind}` | {difference.ours} | {difference.reason} |" in listed


def test_a_target_that_the_subtask_cannot_have_is_not_judged():
    assert bbh.judge("ruin_names", "The answer is (A).", "dearth").verdict == "unjudged"
    assert bbh.judge("object_counting", "The answer is 5.", "five").verdict == "unjudged"
    assert bbh.judge("word_sorting", "The answer is a.", "").verdict == "unjudged"
    assert bbh.judge("chess", "The answer is e4.", "e4").verdict == "unjudged"


def test_a_problem_asks_for_the_format_that_is_judged():
    prompt, answer = bbh.problem_of({"input": "Is it?", "target": "Yes"}, "bbh_navigate")
    assert prompt.startswith("Is it?\n") and "'The answer is" in prompt
    assert json.loads(answer) == {"task": "navigate", "answer": "Yes"}
    assert bbh.judge_json("The answer is yes.", answer) == Judgement("right")
    assert (
        bbh.judge_json("yes", "{}").verdict == bbh.judge_json("yes", '{"task": 1, "answer": 2}').verdict == "unjudged"
    )


@pytest.mark.parametrize(("row", "subtask"), [({"input": "a"}, "navigate"), ({"input": "a", "target": "b"}, "chess")])
def test_what_is_no_example_is_refused(row, subtask):
    with pytest.raises(PuzzleUnreadable):
        bbh.problem_of(row, subtask)


def test_no_response_takes_long():
    start = time.process_time()
    for subtask, target in (("word_sorting", "a b no"), ("web_of_lies", "yes"), ("formal_fallacies", "valid")):
        for piece in ("The answer is \n", "no", "not ", "a ", "valid", "\n", "-", "1", "(A", "e answer is"):
            bbh.judge(subtask, (piece * 90_000)[:90_000], target)
    assert time.process_time() - start < 20
