"""The verifiers of the 27 subtasks of BIG-Bench-Hard as SynLogic evaluates them: nine rules, written anew.

A response should end in `The answer is X.` with its period: the rule reads the rest of the first such line without its
last character. Where that names no answer, the first word, option or number of the whole text counts, so thinking that
names another option first makes a response wrong. That is the evaluation as published; `EXCEPTIONS` lists where it is
plainly wrong and we differ. Linear in the length of the response; nothing is evaluated.

Sources: arXiv 2210.09261 (the tasks), 2505.19641 (the rules).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from .synlogic.extraction import integer
from .synlogic.judgement import (
    LONGEST_RESPONSE,
    NOT_FOUND,
    UNJUDGED,
    Difference,
    Judgement,
    PuzzleUnreadable,
    answer_text,
    judged,
)

INSTRUCTION = "Let's think step by step, and end your response in the following format: 'The answer is {your_answer}.'"

EXCEPTIONS = {
    "cut_brackets": Difference(
        "wrong", "without a final period the last bracket is cut off, so a sequence with one too many passes"
    ),
    "cut_number": Difference("wrong", "without a final period the last digit is cut off, so `24` passes for 2"),
    "not_valid": Difference("wrong", "`not valid` is read as `valid`"),
}
"""Kind → how we differ from the published verifiers."""

_SAID = re.compile(r"[the|T] answer is (.*).")
_SAID_NUMBER = re.compile(r"[the|T] answer is ([-0-9]+)(?=.)")
_NUMBER = re.compile(r"[-0-9]+")
_OPTION = re.compile(r"\([A-Z]\)")
_BOOLEAN = re.compile(r"\b(true|false)\b", re.IGNORECASE)
_YES_NO = re.compile(r"\b(Yes|No|yes|no)\b")
_VALIDITY = re.compile(r"\b(valid|invalid)\b", re.IGNORECASE)
_NOT = re.compile(r"(?:\bnot|n't)\s+(?:deductively\s+)?$", re.IGNORECASE)
_PLAUSIBLE = (r"no|not plausible", r"yes|plausible")
_TRUTHFUL = (
    r"no|does not tell the truth|is not telling the truth",
    r"yes|tells the truth|is telling the truth",
)

Rule = Callable[[str, str], Judgement]


def _said(text: str) -> str | None:
    found = _SAID.search(text)
    return found.group(1).strip() if found else None


def _first(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The first match in what is said to be the answer, else in the whole text."""
    said = _said(text)
    return (pattern.search(said) if said is not None else None) or pattern.search(text)


def option(text: str, target: str) -> Judgement:
    """`(A)`, in upper case and brackets. Three published examples have a target that is no option: unjudged."""
    if not _OPTION.fullmatch(target):
        return UNJUDGED
    found = _first(_OPTION, text)
    return judged(found.group() == target) if found else NOT_FOUND


def boolean(text: str, target: str) -> Judgement:
    """`True` or `False`, spelled so; the text between the answer's tags counts, whether or not they were stripped."""
    rest = text.split("</think>", 2)[1] if "</think>" in text else text
    inside = answer_text(text)
    found = _first(_BOOLEAN, rest if inside == text else inside)
    return judged(found.group() == target) if found else NOT_FOUND


def yes_no(text: str, target: str) -> Judgement:
    """`Yes` or `No`: all that is said to be the answer, else the first such word."""
    said = (_said(text) or "").lower()
    if said in ("yes", "no"):
        return judged(said.capitalize() == target)
    found = _YES_NO.search(text)
    return judged(found.group().capitalize() == target) if found else NOT_FOUND


def validity(text: str, target: str) -> Judgement:
    """`valid` or `invalid`, in any case."""
    found = _first(_VALIDITY, text)
    if found is None:
        return NOT_FOUND
    right = found.group().lower() == target.lower()
    if right and target.lower() == "valid" and _NOT.search(found.string[: found.start()][-40:]):
        return Judgement(EXCEPTIONS["not_valid"].ours, exception="not_valid")
    return judged(right)


def number(text: str, target: str) -> Judgement:
    """A whole number; what follows its digits is ignored, so 24.0 is 24."""
    gold = integer(target)
    if gold is None:
        return UNJUDGED
    said = _SAID_NUMBER.search(text)
    value = integer(said.group(1)) if said else None
    if said and value is not None:
        whole = _NUMBER.match(text, said.start(1))
        if value == gold and whole and whole.end() > said.end(1):
            return Judgement(EXCEPTIONS["cut_number"].ours, exception="cut_number")
        return judged(value == gold)
    found = _NUMBER.search(text)
    value = integer(found.group()) if found else None
    return judged(value == gold) if value is not None else NOT_FOUND


def brackets(text: str, target: str) -> Judgement:
    """The closing brackets, between spaces; the whole text where nothing is said to be the answer."""
    found = _SAID.search(text)
    answer = found.group(1) if found else text
    if not answer.strip():
        return NOT_FOUND
    right = answer.split() == target.split()
    if right and found and text[found.end() - 1] in ")]}>([{<":
        return Judgement(EXCEPTIONS["cut_brackets"].ours, exception="cut_brackets")
    return judged(right)


def words(text: str, target: str) -> Judgement:
    """The given words in the right order; of a word that stands several times, the last place counts."""
    wanted = target.split()
    if not wanted:
        return UNJUDGED
    for source in (_said(text), text):
        found = _any_of(target).findall(source or "")
        if found:
            return judged(list(reversed(dict.fromkeys(reversed(found)))) == wanted)
    return NOT_FOUND


@lru_cache
def _any_of(words: str) -> re.Pattern[str]:
    longest_first = sorted(set(words.split()), key=len, reverse=True)
    return re.compile("|".join(rf"\b{re.escape(word)}\b" for word in longest_first))


@lru_cache
def _phrase(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b({words})\b", re.IGNORECASE)


def _phrases(no: str, yes: str) -> Rule:
    def judge_phrases(text: str, target: str) -> Judgement:
        for source in (_said(text), text):
            for answer, phrase in (("no", no), ("yes", yes)):
                if source is not None and _phrase(phrase).search(source):
                    return judged(answer == target.lower())
        return NOT_FOUND

    return judge_phrases


_RULES: dict[str, Rule] = {
    "boolean_expressions": boolean,
    "causal_judgement": yes_no,
    "dyck_languages": brackets,
    "formal_fallacies": validity,
    "multistep_arithmetic_two": number,
    "navigate": yes_no,
    "object_counting": number,
    "sports_understanding": _phrases(*_PLAUSIBLE),
    "web_of_lies": _phrases(*_TRUTHFUL),
    "word_sorting": words,
}
_OPTIONS = (
    "date_understanding",
    "disambiguation_qa",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
)
VERIFIERS: dict[str, Rule] = dict(sorted((_RULES | dict.fromkeys(_OPTIONS, option)).items()))
"""Subtask → its rule, from a text and the target to a judgement."""
SUBTASKS = tuple(VERIFIERS)


def judge(subtask: str, response: str, target: str, *, tags: bool = True) -> Judgement:
    """Judge one response.

    Args:
        subtask: one of `SUBTASKS`, with or without `bbh_` before it.
        response: what the model wrote, special tokens removed.
        target: the example's `target`.
        tags: judge the text of `<answer>…</answer>` where there is one, see `answer_text`.

    Returns:
        `unjudged` for an unknown subtask and for a target that the subtask cannot have.
    """
    rule = VERIFIERS.get(subtask.removeprefix("bbh_"))
    if rule is None:
        return UNJUDGED
    if len(response) > LONGEST_RESPONSE:
        return NOT_FOUND
    return rule(answer_text(response, tags=tags), target)


def judge_json(response: str, answer_json: str, *, tags: bool = True) -> Judgement:
    """Judge one response against the second text of `problem_of`."""
    try:
        problem = json.loads(answer_json)
        subtask, target = problem["task"], problem["answer"]
    except (ValueError, TypeError, KeyError):
        return UNJUDGED
    if not isinstance(subtask, str) or not isinstance(target, str):
        return UNJUDGED
    return judge(subtask, response, target, tags=tags)


def problem_of(row: Mapping[str, object], subtask: str) -> tuple[str, str]:
    """(prompt, JSON of `task` and `answer`) of one of a subtask's `examples`, with `INSTRUCTION` after its question.

    Raises:
        PuzzleUnreadable: there is no such subtask, or the row has no `input` and `target`.
    """
    name = subtask.removeprefix("bbh_")
    if name not in VERIFIERS:
        raise PuzzleUnreadable(f"BIG-Bench-Hard has no subtask {subtask!r}; it has {', '.join(SUBTASKS)}")
    question, target = row.get("input"), row.get("target")
    if not isinstance(question, str) or not isinstance(target, str):
        raise PuzzleUnreadable(f"an example of {name} has the texts `input` and `target`")
    return f"{question}\n\n{INSTRUCTION}", json.dumps({"task": name, "answer": target}, ensure_ascii=False)
