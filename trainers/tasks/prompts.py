"""From a question to a prompt: chat messages, plain text that asks for the answer, or a few worked examples before it.

| style | what the model sees | for |
|---|---|---|
| `chat` | messages, the instruction after the question; the template makes text of them | instructed models |
| `plain` | the question and the instruction as text | models without a template |
| `few_shot` | worked examples of the same form, then the question; stop texts end the response | base models |

The examples are of our own writing. What follows a stop text is never judged (`cut`), whoever drew the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...store.errors import nearest
from ..errors import ChatTemplateUnusable, TaskOptionRefused
from .catalogue import STYLES, PromptStyle

Message = dict[str, str]
_PROBE = "simko asks: 17 + 25 = ?"


@dataclass(frozen=True)
class PromptFormat:
    """How the problems of one grader are put.

    Attributes:
        instruction: asks for the answer in the form that the grader reads; empty where the questions do so themselves.
        marker: a text that shows that a question asks for that form already.
        question, answer: headings of the text styles.
        shots: (question, worked answer) of the examples; empty where `few_shot` is refused.
        stop: texts that end a response after examples.
        gap: between a question and its answer.
    """

    instruction: str = ""
    marker: str = ""
    question: str = "Problem:"
    answer: str = "Solution:"
    shots: tuple[tuple[str, str], ...] = ()
    stop: tuple[str, ...] = ()
    gap: str = "\n\n"


MATH = PromptFormat(
    "Please reason step by step, and put your final answer within \\boxed{}.",
    "\\boxed",
    shots=(
        (
            "A baker fills 6 trays with 12 rolls each and sells 50 of the rolls. How many rolls are left?",
            "The trays hold $6 \\cdot 12 = 72$ rolls. After the sale $72 - 50 = 22$ are left. "
            "The answer is $\\boxed{22}$.",
        ),
        (
            "Solve $3x + 5 = 2x - 4$ for $x$.",
            "Subtracting $2x$ and then $5$ from both sides gives $x = -9$. The answer is $\\boxed{-9}$.",
        ),
        (
            "A bag holds 3 red and 5 blue marbles. Two are drawn without putting the first one back. What is the "
            "probability that both are red?",
            "The first is red with probability $\\frac{3}{8}$, the second then with $\\frac{2}{7}$. The product is "
            "$\\frac{6}{56} = \\frac{3}{28}$. The answer is $\\boxed{\\frac{3}{28}}$.",
        ),
        (
            "Factor $x^2 - 7x + 12$ completely.",
            "The numbers $3$ and $4$ have the sum $7$ and the product $12$, so $x^2 - 7x + 12 = (x - 3)(x - 4)$. "
            "The answer is $\\boxed{(x-3)(x-4)}$.",
        ),
    ),
    stop=("\n\nProblem:",),
)
SYNLOGIC = PromptFormat(question="Puzzle:")
BBH = PromptFormat(
    question="Q:",
    answer="A:",
    shots=(
        (
            "If you follow these instructions, do you return to the starting point? Take 3 steps. Turn around. Take 2 "
            "steps. Take 1 step.\nOptions:\n- Yes\n- No",
            "After 3 steps one way, 2 + 1 = 3 steps lead back. So the answer is Yes.",
        ),
        (
            "A shelf holds three books: the red one is left of the green one, and the blue one is left of the red one. "
            "Which one stands in the middle?\nOptions:\n(A) The red one\n(B) The green one\n(C) The blue one",
            "From left to right they are blue, red, green. The red one stands in the middle. So the answer is (A).",
        ),
        (
            "I have two spoons, a kettle and three forks. How many pieces of cutlery do I have?",
            "Spoons and forks are cutlery, a kettle is not: 2 + 3 = 5. So the answer is 5.",
        ),
    ),
    stop=("\n\nQ:",),
    gap="\n",
)


class Prompts:
    """Writes the prompts of one task in one style.

    Args:
        form: how the problems are put.
        tokenizer: its chat template decides where no style is asked for; None has none.
        style: the style asked for.
        task: its name, for messages.

    Attributes:
        style: the style written.
        stop: texts that end a response.

    Raises:
        TaskOptionRefused: there is no such style, or no examples for it, or no template.
        ChatTemplateUnusable: the template fails or loses what the user says.
    """

    def __init__(self, form: PromptFormat, tokenizer: Any, style: str | None, task: str) -> None:
        self._form = form
        self.style = _resolved(style, tokenizer, task)
        if self.style == "few_shot" and not form.shots:
            raise TaskOptionRefused(f"--prompt_style few_shot: there are no worked examples for {task}; use plain")
        if self.style == "chat" and tokenizer is not None:
            check_template(tokenizer)
        self.stop = form.stop if self.style == "few_shot" else ()
        adds = getattr(tokenizer, "bos_token", None) if self.style != "chat" else None
        self._bos: str = adds or ""

    def of(self, messages: Sequence[Message]) -> list[Message] | str:
        """The prompt that puts a question."""
        form = self._form
        asked = not form.instruction or (
            bool(form.marker) and any(form.marker in m["content"] for m in messages if m["role"] in ("system", "user"))
        )
        if self.style == "chat":
            *before, last = messages
            content = last["content"] if asked else f"{last['content']}\n{form.instruction}"
            return [*before, {"role": last["role"], "content": content}]
        if self.style == "few_shot":
            question = "\n\n".join(m["content"] for m in messages if m["role"] != "system")
            blocks = [f"{form.question} {q}{form.gap}{form.answer} {a}" for q, a in form.shots]
            return "\n\n".join([*blocks, f"{form.question} {question}{form.gap}{form.answer}"])
        parts = [m["content"] for m in messages] + ([] if asked else [form.instruction])
        # The tokenizer adds its own beginning: text that was rendered elsewhere would have two.
        return "\n\n".join(parts).removeprefix(self._bos) + f"\n\n{form.answer}"


def _resolved(style: str | None, tokenizer: Any, task: str) -> PromptStyle:
    templated = getattr(tokenizer, "chat_template", None) is not None
    if style is None:
        return "chat" if templated else "plain"
    for known in STYLES:
        if style == known:
            if known == "chat" and tokenizer is not None and not templated:
                raise TaskOptionRefused(
                    f"--prompt_style chat: the tokenizer of this model has no chat template; use plain or few_shot "
                    f"for {task}"
                )
            return known
    near = nearest(style, STYLES)
    raise TaskOptionRefused(
        f"there is no --prompt_style {style}; " + (f"did you mean {near}?" if near else f"use {', '.join(STYLES)}")
    )


def check_template(tokenizer: Any) -> None:
    """Render one question and see that it comes out whole, and that the text begins once.

    Raises:
        ChatTemplateUnusable: the template fails, loses the question, or doubles the beginning-of-text token.
    """
    advice = "give a model with a working template, or use --prompt_style plain"
    messages = [{"role": "user", "content": _PROBE}]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    except Exception as error:  # templates are programs: they fail in every way
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise ChatTemplateUnusable(f"the tokenizer's chat template fails ({reason}); {advice}") from error
    if _PROBE not in text:
        raise ChatTemplateUnusable(f"the tokenizer's chat template loses what the user says; {advice}")
    ids, bos = list(encoded["input_ids"]), getattr(tokenizer, "bos_token_id", None)
    if bos is not None and bos != tokenizer.eos_token_id and ids[:2] == [bos, bos]:
        raise ChatTemplateUnusable(
            f"the tokenizer's chat template begins the text with {tokenizer.bos_token} twice; {advice}"
        )


def cut(text: str, stop: Sequence[str]) -> str:
    """A response up to the first of the stop texts."""
    for end in stop:
        text = text.partition(end)[0]
    return text
