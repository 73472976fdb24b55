"""The built-in tasks: Countdown with three numbers or four, evaluated left to right; right answers can all be listed.

A problem gives numbers from 1..9 (a multiset, written in ascending order) and a target from 1..50. The prompt is
`a b c target`, a response `n op n op n` with operators `+ - *`, every given number used exactly once. There is no
operator precedence: `2 + 3 * 4` is (2 + 3) · 4 = 20. Every word is one token of the built-in policies.

Problems are split by multiset, so that no problem of one part shares its numbers with one of another. `countdown`:
1 570 problems with a right answer, 2.68 on average; 124 multisets (1 195 problems) train, 10 (99) validate, 31 (276)
are held out. `countdown4`: 13 449 problems, 6.85 right answers on average; 371 multisets (10 150 problems) train; of
the others 120 problems validate and 300 are held out, drawn once and for all, to keep evaluations short.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, permutations, product
from typing import Any

from ...store.layout.schema import Verdict
from .base import extracted_listed, judge_listed
from .catalogue import Benchmark

NUMBERS = range(1, 10)
TARGETS = range(1, 51)
OPERATORS = ("+", "-", "*")

_UNSEEN_SHARE = 0.25
"""Of the multisets: those not trained on."""
_VALIDATION_SHARE = 0.25
"""Of the multisets not trained on."""
_SPLIT_SEED, _VALIDATION_SEED = 2, 3
_MOST_EVALUATED = {"validation": 120, "heldout": 300}


@dataclass(frozen=True)
class Problem:
    """Numbers in ascending order, the target, and every right answer."""

    numbers: tuple[int, ...]
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


@dataclass(frozen=True)
class Split:
    """The three parts; no two share a multiset of numbers."""

    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    heldout: tuple[Problem, ...]


@cache
def expressions(numbers: tuple[int, ...]) -> tuple[str, ...]:
    """Every distinct expression that uses each of the numbers once."""
    made = []
    for order in sorted(set(permutations(numbers))):
        for operators in product(OPERATORS, repeat=len(numbers) - 1):
            words = [str(order[0])]
            for operator, number in zip(operators, order[1:], strict=True):
                words += [operator, str(number)]
            made.append(" ".join(words))
    return tuple(made)


def max_completion_length(count: int) -> int:
    """Two more than the tokens of an answer (its words and the end), so that rambling shows."""
    return 2 * count + 2


@cache
def problems(count: int = 3) -> tuple[Problem, ...]:
    """The solvable problems with that many numbers, by numbers, then target."""
    result = []
    for numbers in combinations_with_replacement(NUMBERS, count):
        by_value: dict[int, list[str]] = {}
        for expression in expressions(numbers):
            by_value.setdefault(evaluate_left_to_right(expression.split()), []).append(expression)
        result += [Problem(numbers, target, tuple(by_value[target])) for target in TARGETS if target in by_value]
    return tuple(result)


@cache
def split(count: int = 3) -> Split:
    """Training, validation and held-out problems."""
    multisets = sorted({problem.numbers for problem in problems(count)})
    unseen = random.Random(_SPLIT_SEED).sample(multisets, round(_UNSEEN_SHARE * len(multisets)))
    validation = set(random.Random(_VALIDATION_SEED).sample(sorted(unseen), round(_VALIDATION_SHARE * len(unseen))))
    heldout = set(unseen) - validation
    return Split(
        train=tuple(p for p in problems(count) if p.numbers not in validation | heldout),
        validation=_some([p for p in problems(count) if p.numbers in validation], "validation"),
        heldout=_some([p for p in problems(count) if p.numbers in heldout], "heldout"),
    )


def _some(rows: list[Problem], part: str) -> tuple[Problem, ...]:
    """At most as many as an evaluation shall have, in their order."""
    most = min(_MOST_EVALUATED[part], len(rows))
    return tuple(rows[i] for i in sorted(random.Random(0).sample(range(len(rows)), most)))


def _dataset(rows: Sequence[Problem], name: str) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "prompt": [p.prompt for p in rows],
            "prompt_id": [f"{name}-" + "-".join(map(str, (*p.numbers, p.target))) for p in rows],
            "answer": [list(p.answers) for p in rows],
        }
    )


class Countdown:
    """The built-in `Task`; `answer` lists every right response.

    Args:
        count: numbers of a problem, 3 or 4.
    """

    enumerates_answers = True
    stop: tuple[str, ...] = ()
    settings: Benchmark | None = None

    def __init__(self, count: int = 3) -> None:
        self.name = "countdown" if count == 3 else f"countdown{count}"
        self.max_completion_length = max_completion_length(count)
        parts = split(count)
        self.train, self.validation, self.heldout = (
            _dataset(part, self.name) for part in (parts.train, parts.validation, parts.heldout)
        )

    def judge(self, texts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Verdict]:
        """Right if the response is one of the right answers, word for word."""
        return judge_listed(texts, answers)

    def extracted(self, texts: Sequence[str]) -> list[bool]:
        """Whether a response says anything."""
        return extracted_listed(texts)

    def close(self) -> None:
        """Nothing runs."""
