"""Answers that say who has or is what: exchanged goods, truth tellers, zebra puzzles; and ciphers and ARC grids.

Formats as published: goods a tuple of pairs in the last `python` fence; truth tellers a bold list on the last line;
zebra and ARC answers the last `json` fence, or the whole answer without one; ciphers `[["TEXT"]]` likewise in a
`python` fence.
"""

from __future__ import annotations

import re
from typing import Any

from .extraction import LONGEST_LITERAL, from_json, literal, python_lines
from .judgement import NOT_FOUND, RIGHT, WRONG, Judgement, Puzzle, PuzzleUnreadable, Verifier, judged


def goods_exchange(text: str, puzzle: Puzzle) -> Judgement:
    """Every person has the right thing; order and case are ignored, quotes may be missing."""
    gold = _owners(puzzle.text("owns_after"))
    if not gold:
        raise PuzzleUnreadable("`owns_after` names no owners")
    block = None
    for block in python_lines(text):  # noqa: B007 - the last one is the answer
        pass
    block = block.strip() if block else ""
    if not (block.startswith("(") and block.endswith(")")) or len(block) > LONGEST_LITERAL:
        return NOT_FOUND
    owners = _owners(block)
    if len(owners) != len(gold):
        return WRONG
    lower = {person.lower(): thing.lower() for person, thing in owners.items()}
    return judged(all(lower.get(person.lower()) == thing.lower() for person, thing in gold.items()))


def _owners(text: str) -> dict[str, str]:
    """Person → thing, of a literal or of bracketed pairs without quotes."""
    value = literal(text)
    if value is None:
        return dict(_loose_pairs(text))
    pairs = [pair for pair in value if isinstance(pair, tuple) and len(pair) == 2] if isinstance(value, tuple) else []
    if not all(isinstance(one, str) for pair in pairs for one in pair):
        return {}
    return {person.strip(): thing.strip() for person, thing in pairs}


def _loose_pairs(text: str) -> list[tuple[str, str]]:
    """What stands in brackets between commas; a comma in quotes does not count."""
    text = text.removeprefix("(").removesuffix(")")
    result, depth, current = [], 0, ""
    for mark in text:
        depth += (mark == "(") - (mark == ")")
        if mark == "," and depth == 0:
            continue
        current += mark
        if mark == ")" and depth == 0:
            parts = _parts(current.strip().removeprefix("(").removesuffix(")"))
            if len(parts) >= 2:
                result.append((parts[0], parts[1]))
            current = ""
    return result


def _parts(text: str) -> list[str]:
    parts, quoted, current = [], False, ""
    for mark in text:
        if mark in "\"'" and not current.endswith("\\"):
            quoted = not quoted
        if mark == "," and not quoted:
            parts.append(current)
            current = ""
        else:
            current += mark
    return [part.strip().strip("'\"") for part in [*parts, *([current] if current else [])]]


_BOLD_ANSWERS = (
    re.compile(r"答案是[：:]\s*+\*\*([^*]++)\*\*[.。]*+$"),
    re.compile(r"[Tt]he answer is[：:=]\s*+\*\*([^*]++)\*\*[.。]*+$"),
)
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_SAID = re.compile(r"(?:答案是|[Tt]he answer is)[：:=]?\s*+(.*?)(?:[.。]|$)")
_SEQUENCE = re.compile(r"(?:\b(?:yes|no|是|否)\b[,，\s]*+)++")
_TRUTH = re.compile(r"(yes|true|truth|是|真话|真)|(no|false|lie|否|假话|假|谎)")


def web_of_lies(text: str, puzzle: Puzzle) -> Judgement:
    """The yes and no (true and false, 是 and 否) of the bold list, else of what follows `the answer is`, in order."""
    gold, answer = _truths(puzzle.answer_text()), _said(text)
    return judged(_truths(answer) == gold) if answer and _truths(answer) else NOT_FOUND


def _truths(text: str) -> list[bool]:
    return [bool(yes) for yes, _ in _TRUTH.findall(text.lower())]


def _said(text: str) -> str | None:
    for pattern in _BOLD_ANSWERS:
        if found := pattern.findall(text):
            return str(found[-1])
    line = text.strip().rpartition("\n")[2].strip()
    if match := _BOLD.search(line) or _SAID.search(line):
        return match.group(1)
    sequences = _SEQUENCE.findall(text.lower())
    return sequences[-1] if sequences else None


def _fenced(text: str, language: str) -> str:
    """What follows the last mark of a language, up to the next fence; the text up to its first fence without a mark."""
    return text.rpartition(f"```{language}")[2].partition("```")[0].strip()


def zebra_puzzle(text: str, puzzle: Puzzle) -> Judgement:
    """The JSON object equals the reference: same keys, same order of rows, same types."""
    gold = from_json(puzzle.answer_text())
    if not isinstance(gold, dict):
        raise PuzzleUnreadable("the puzzle's answer is no JSON object")
    source = _fenced(text, "json")
    value = from_json(source)
    value = literal(source) if value is None else value
    return judged(_same(gold, value)) if isinstance(value, dict) else NOT_FOUND


def _same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


def arc_agi(text: str, puzzle: Puzzle) -> Judgement:
    """The list of lists equals the reference."""
    gold = from_json(puzzle.answer) if isinstance(puzzle.answer, str) else puzzle.answer
    if not isinstance(gold, list):
        raise PuzzleUnreadable("the puzzle's answer is no grid")
    source = _fenced(text.strip().lower(), "json")
    value = from_json(source)
    value = literal(source) if value is None else value
    return NOT_FOUND if value is None else judged(value == gold)


def cipher(text: str, puzzle: Puzzle) -> Judgement:
    """`[["TEXT"]]` holds the reference's text, letter for letter."""
    gold = puzzle.answer_text()
    value = literal(_fenced(text, "python"))
    if value is None:
        return NOT_FOUND
    return RIGHT if value == [[gold[2:-2]]] else WRONG


VERIFIERS = {
    "arc_agi": Verifier(arc_agi, needs_answer=True),
    "cipher": Verifier(cipher, needs_answer=True),
    "goods_exchange": Verifier(goods_exchange, ("owns_after",)),
    "web_of_lies": Verifier(web_of_lies, needs_answer=True),
    "zebra_puzzle": Verifier(zebra_puzzle, needs_answer=True),
}
