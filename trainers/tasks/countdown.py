"""The built-in task: 3-number Countdown, evaluated left to right, whose right answers can all be enumerated.

A problem gives three numbers from 1..9 (a multiset, written in ascending order) and a target from 1..50. The prompt is
`a b c target`, a response `n op n op n` with operators `+ - *`, every given number used exactly once. There is no
operator precedence: `2 + 3 * 4` is (2 + 3) · 4 = 20. Every word is one token of the built-in policy.

1 570 problems have a right answer, 2.68 on average. They are split by multiset, so that no held-out problem shares its
numbers with a training problem: 124 multisets (1 195 problems) train, 41 multisets (375 problems) are held out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, permutations, product
from typing import Any

from ...store.schema import Verdict

NUMBERS = range(1, 10)
TARGETS = range(1, 51)
OPERATORS = ("+", "-", "*")
MAX_COMPLETION_LENGTH = 8
"""Two more than the six tokens of an answer (five words and the end), so that rambling shows."""

_HELDOUT_SHARE = 0.25
_SPLIT_SEED = 2


@dataclass(frozen=True)
class Problem:
    """Numbers in ascending order, the target, and every right answer."""

    numbers: tuple[int, int, int]
    target: int
    answers: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """`a b c target`."""
        return " ".join(map(str, (*self.numbers, self.target)))


def evaluate_left_to_right(words: Sequence[str]) -> int:
    """The value of `n op n op n …`, without operator precedence."""
    value = int(words[0])
    for operator, number in zip(words[1::2], words[2::2], strict=True):
        n = int(number)
        value = value + n if operator == "+" else value - n if operator == "-" else value * n
    return value


def expressions(numbers: tuple[int, int, int]) -> Iterator[str]:
    """Every distinct expression that uses each of the numbers once."""
    for a, b, c in sorted(set(permutations(numbers))):
        for first, second in product(OPERATORS, repeat=2):
            yield f"{a} {first} {b} {second} {c}"


@cache
def problems() -> tuple[Problem, ...]:
    """The 1 570 solvable problems, by numbers, then target."""
    found = []
    for numbers in combinations_with_replacement(NUMBERS, 3):
        by_value: dict[int, list[str]] = {}
        for expression in expressions(numbers):
            by_value.setdefault(evaluate_left_to_right(expression.split()), []).append(expression)
        found += [Problem(numbers, target, tuple(by_value[target])) for target in TARGETS if target in by_value]
    return tuple(found)


@cache
def split() -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """(training, held-out) problems; the two share no multiset of numbers."""
    multisets = sorted({problem.numbers for problem in problems()})
    chosen = random.Random(_SPLIT_SEED).sample(multisets, round(_HELDOUT_SHARE * len(multisets)))
    heldout = set(chosen)
    return (
        tuple(p for p in problems() if p.numbers not in heldout),
        tuple(p for p in problems() if p.numbers in heldout),
    )


def _dataset(rows: Sequence[Problem]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "prompt": [p.prompt for p in rows],
            "prompt_id": ["countdown-" + "-".join(map(str, (*p.numbers, p.target))) for p in rows],
            "answer": [list(p.answers) for p in rows],
        }
    )


class Countdown:
    """The built-in `Task`; `answer` lists every right response."""

    name = "countdown"
    enumerates_answers = True
    max_completion_length = MAX_COMPLETION_LENGTH

    def __init__(self) -> None:
        train, heldout = split()
        self.train, self.heldout = _dataset(train), _dataset(heldout)

    def judge(self, texts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Verdict]:
        """Right if the response is one of the right answers, word for word."""
        return [
            "right" if " ".join(text.split()) in right else "wrong" for text, right in zip(texts, answers, strict=True)
        ]

    def close(self) -> None:
        """Nothing runs."""
