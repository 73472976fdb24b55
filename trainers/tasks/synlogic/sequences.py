r"""Answers that are one line: brackets, positions, word lists, numbers and names in a box, two numbers in a list.

Formats as published. Brackets and the position of a bracket's fault are the whole answer, so a response that reasons
has to put them into `<answer>`; steps with faults are all digits of the answer; the others are the last box or list.
"""

from __future__ import annotations

import re

from .extraction import LONGEST_LITERAL, LONGEST_NUMBER, flat_box, from_json, integer, last_box
from .judgement import NOT_FOUND, RIGHT, WRONG, Judgement, Puzzle, PuzzleUnreadable, Verifier, differing, judged

_ESCAPES = re.compile(r"\\[ntr]")


def dyck_language(text: str, puzzle: Puzzle) -> Judgement:
    """The whole answer, without space and quotes around it, is the completed sequence."""
    gold = puzzle.text("full_sequence")
    answer = _ESCAPES.sub("", "".join(text.split())).replace("\\\\", "\\")
    for quote in "\"'":
        if len(answer) > 1 and answer[0] == answer[-1] == quote:
            answer = answer[1:-1]
            break
    return judged(answer == gold) if answer else NOT_FOUND


_NEGATED = re.compile(r"invalid|incorrect|not\s++(?:a\s++)?(?:valid|correct)|不合法|非法")
_WORDS = ("合法", "valid", "correct")


def dyck_language_errors(text: str, puzzle: Puzzle) -> Judgement:
    """The whole answer is the position of the first fault; -1, or a word for `valid`, where there is none."""
    valid = puzzle.value("is_valid") is True
    gold = -1 if valid else puzzle.integer("first_error_pos")
    lower = text.lower()
    if any(word in lower for word in _WORDS):
        if not valid:
            return WRONG
        rest = _NEGATED.sub("", lower)
        return RIGHT if any(word in rest for word in _WORDS) else differing("dyck_language_errors.negated")
    position = integer(text)
    if position is None:
        return NOT_FOUND
    return judged(text.strip() == "-1" if valid else position == gold)


_NO_ERRORS = ("无问题", "no", "无错误", "no error", "no errors", "no mistakes", "all correct")
_UNSURE = ("不确定", "不知道", "unclear")
_NOT_INDEX = re.compile(r"[^0-9,]")
_EMPTY = re.compile(r"[\s\"'“”‘’\[\](){}.。,，`]*+")


def dyck_language_reasoning_errors(text: str, puzzle: Puzzle) -> Judgement:
    """The set of numbers that the answer's digits and commas make; nothing at all where no step is wrong."""
    gold = set(puzzle.items("error_indices", int))
    lower = text.lower()
    if any(word in lower for word in _UNSURE):
        return WRONG
    words = [] if lower in _NO_ERRORS else _NOT_INDEX.sub("", text.replace("，", ",")).split(",")
    found = {word for word in words if word}
    if any(len(word) > LONGEST_NUMBER for word in found):
        return WRONG
    if found:
        return judged({int(word) for word in found} == gold)
    answered = lower in _NO_ERRORS or _EMPTY.fullmatch(text) is not None
    if gold:
        return WRONG if answered and text.strip() else NOT_FOUND
    return RIGHT if answered else differing("dyck_language_reasoning_errors.no_answer", extracted=False)


def word_sorting(text: str, puzzle: Puzzle) -> Judgement:
    """The words in the last box, between commas, in the reference's order."""
    gold, answer = _words(puzzle.answer_text()), flat_box(text)
    return NOT_FOUND if answer is None else judged(_words(answer) == gold)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.replace("，", ",").replace(" ", "").split(",")]


def word_sorting_mistake(text: str, puzzle: Puzzle) -> Judgement:
    """The number of the wrong step in the last box, or `No` where none is wrong."""
    gold = "No" if puzzle.answer in (None, "None", "null", "") else str(puzzle.answer)
    answer = flat_box(text)
    if answer is None:
        return NOT_FOUND
    return judged(integer(answer) == integer(gold) if answer.isdecimal() else answer.lower() == gold.lower())


def time_sequence(text: str, puzzle: Puzzle) -> Judgement:
    """The last `[…]` begins with the longest meeting's minutes and the number of choices."""
    gold = [puzzle.integer(f"records.answers.{name}") for name in ("answer_maxLen", "answer_nums")]
    position = 0
    found = None
    while (start := text.find("[", position)) >= 0 and (end := text.find("]", start)) >= 0:
        found = text[start : end + 1]
        position = end + 1
    if found is None:
        return NOT_FOUND
    value = from_json(found.replace("，", ","))
    if not isinstance(value, list):
        return NOT_FOUND
    return judged(value[:2] == gold and not any(isinstance(one, bool) for one in value[:2]))


_LETTERS = re.compile(r"[a-zA-Z]")


def boolean_expressions(text: str, puzzle: Puzzle) -> Judgement:
    """The set of letters in the last box."""
    gold, answer = puzzle.answer_text(), last_box(text)
    if answer is None:
        return NOT_FOUND
    return judged(set(_LETTERS.findall(answer.lower())) == set(_LETTERS.findall(gold.lower())))


_TWO_DECIMALS = re.compile(r"(?:-|(?<!\d))\d++\.\d{2}\b")


def buggy_tables(text: str, puzzle: Puzzle) -> Judgement:
    """The last number with exactly two decimals is the reference, digit for digit."""
    gold = puzzle.answer_text()
    wanted = (_TWO_DECIMALS.findall(gold) or [gold.strip()])[-1]
    found = _TWO_DECIMALS.findall(text)
    if found:
        return judged(found[-1] == wanted)
    return judged(text.strip() == wanted) if len(text) < LONGEST_LITERAL and text.strip() == wanted else NOT_FOUND


def object_counting(text: str, puzzle: Puzzle) -> Judgement:
    """A whole number in the last box."""
    return _count(text, puzzle, "object_counting")


def object_properties(text: str, puzzle: Puzzle) -> Judgement:
    """A whole number in the last box, or `unknown` where it cannot be told."""
    return _count(text, puzzle, "object_properties")


_UNDERSCORED = re.compile(r"[+-]?\d+(?:_\d+)+")


def _count(text: str, puzzle: Puzzle, task: str) -> Judgement:
    gold = integer(str(puzzle.answer))
    unknown = str(puzzle.answer).strip().lower() == "unknown" and task == "object_properties"
    if gold is None and not unknown:
        raise PuzzleUnreadable("the puzzle's answer is no whole number")
    answer = flat_box(text)
    if answer is None:
        return NOT_FOUND
    if unknown:
        return differing("object_properties.unknown") if answer.lower() == "unknown" else WRONG
    if _UNDERSCORED.fullmatch(answer) and integer(answer.replace("_", "")) == gold:
        return differing(f"{task}.underscore")
    return judged(integer(answer) == gold)


def space_reasoning(text: str, puzzle: Puzzle) -> Judgement:
    """The last box is the reference; case is ignored."""
    gold, answer = puzzle.answer_text(), last_box(text)
    return NOT_FOUND if answer is None else judged(answer.strip().lower() == gold.lower())


def space_reasoning_tree(text: str, puzzle: Puzzle) -> Judgement:
    """The set of names in the last box, between commas; every space is ignored."""
    gold, answer = puzzle.answer_text(), last_box(text)
    if answer is None:
        return NOT_FOUND
    ours, theirs = (set(one.replace("，", ",").replace(" ", "").split(",")) for one in (answer.strip(), gold))
    return judged(ours == theirs)


VERIFIERS = {
    "boolean_expressions": Verifier(boolean_expressions, needs_answer=True),
    "buggy_tables": Verifier(buggy_tables, needs_answer=True),
    "dyck_language": Verifier(dyck_language, ("full_sequence",)),
    "dyck_language_errors": Verifier(dyck_language_errors, ("is_valid", "first_error_pos")),
    "dyck_language_reasoning_errors": Verifier(dyck_language_reasoning_errors, ("error_indices",)),
    "object_counting": Verifier(object_counting, needs_answer=True),
    "object_properties": Verifier(object_properties, needs_answer=True),
    "space_reasoning": Verifier(space_reasoning, needs_answer=True),
    "space_reasoning_tree": Verifier(space_reasoning_tree, needs_answer=True),
    "time_sequence": Verifier(time_sequence, ("records.answers",)),
    "word_sorting": Verifier(word_sorting, needs_answer=True),
    "word_sorting_mistake": Verifier(word_sorting_mistake, needs_answer=True),
}
