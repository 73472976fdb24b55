"""Prompts in three styles, and tokenizers whose templates are wrong."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
from simko.trainers.errors import ChatTemplateUnusable, TaskOptionRefused
from simko.trainers.models.stopping import end_at_stop, tokens_with
from simko.trainers.tasks.graders.grading import MathGrader
from simko.trainers.tasks.prompts import BBH, MATH, SYNLOGIC, Prompts, check_template, cut

QUESTION = [{"role": "user", "content": "What is 2+2?"}]
WHOLE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def with_template(template: str) -> Any:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def test_the_style_follows_the_tokenizer_and_can_be_asked_for() -> None:
    assert Prompts(MATH, None, None, "math").style == "plain"
    assert Prompts(MATH, tiny.tokenizer(), None, "math").style == "plain"
    assert Prompts(MATH, with_template(WHOLE), None, "math").style == "chat"
    assert Prompts(MATH, with_template(WHOLE), "plain", "math").style == "plain"


def test_few_shot_prompts_end_where_the_answer_begins_and_stop_at_the_next_problem() -> None:
    prompts = Prompts(MATH, None, "few_shot", "math")
    text = prompts.of(QUESTION)
    assert isinstance(text, str)
    assert text.endswith("Problem: What is 2+2?\n\nSolution:") and text.count("\\boxed") == 4
    assert cut(" 4. \\boxed{4}\n\nProblem: What is 3?\n\nSolution: \\boxed{3}", prompts.stop) == " 4. \\boxed{4}"
    assert Prompts(BBH, None, "few_shot", "bbh").of(QUESTION).count("the answer is") == 3  # type: ignore[union-attr]


def test_the_worked_examples_are_right() -> None:
    golds = ["22", "-9", r"\frac{3}{28}", "(x-3)(x-4)"]
    with MathGrader(workers=1) as grader:
        assert grader.judge([answer for _, answer in MATH.shots], golds) == ["right"] * 4


def test_a_question_that_asks_for_a_box_itself_is_left_as_it_is() -> None:
    boxed = [{"role": "user", "content": "2+2? Use \\boxed{}."}]
    assert Prompts(MATH, with_template(WHOLE), None, "math").of(boxed) == boxed
    asked = Prompts(MATH, with_template(WHOLE), None, "math").of(QUESTION)
    assert asked[-1]["content"].endswith("within \\boxed{}.")  # type: ignore[index]


def test_text_that_begins_with_the_tokenizers_beginning_loses_it() -> None:
    rendered = [{"role": "user", "content": "<bos>What is 2+2?"}]
    text = Prompts(MATH, tiny.tokenizer(), None, "math").of(rendered)
    assert isinstance(text, str) and text.startswith("What")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "loses what the user says"),
        ("{{ raise_exception('only system messages') }}", "fails \\(only system messages\\)"),
        ("{{ messages[0].content.nothing.there }}", "fails"),
        ("<bos> <bos> {{ messages[0].content }}", "twice"),
    ],
)
def test_a_wrong_template_is_told_before_anything_runs(template: str, words: str) -> None:
    with pytest.raises(ChatTemplateUnusable, match=words) as fault:
        Prompts(MATH, with_template(template), None, "math")
    assert "--prompt_style plain" in str(fault.value) and "\n" not in str(fault.value)
    Prompts(MATH, with_template(template), "plain", "math")


def test_padding_with_the_end_token_or_without_any_is_no_fault() -> None:
    tokenizer = with_template(WHOLE)
    tokenizer.pad_token = tokenizer.eos_token
    check_template(tokenizer)
    tokenizer.pad_token = None
    check_template(tokenizer)


@pytest.mark.parametrize(
    ("form", "style", "words"),
    [
        (MATH, "few-shot", "did you mean few_shot"),
        (MATH, "xyzzy", "use chat, plain, few_shot"),
        (MATH, "chat", "has no chat template"),
        (SYNLOGIC, "few_shot", "no worked examples"),
    ],
)
def test_styles_that_cannot_be(form: Any, style: str, words: str) -> None:
    with pytest.raises(TaskOptionRefused, match=words):
        Prompts(form, tiny.tokenizer(), style, "the task")


def test_tokens_that_hold_the_stop_text_end_a_response(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer, model = tiny.tokenizer(), tiny.llama()
    assert tokens_with(tokenizer, "7") == [tokenizer.convert_tokens_to_ids("7")]
    end_at_stop(model, tokenizer, ("7",))
    assert model.generation_config.eos_token_id == [2, tokenizer.convert_tokens_to_ids("7")]
    end_at_stop(model, tokenizer, ("\n\nProblem:",))
    assert "do not end there" in caplog.text and len(model.generation_config.eos_token_id) == 2
