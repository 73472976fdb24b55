"""What a verifier gets and gives: one puzzle's data, one judgement of one response; and where the two verifiers differ.

`EXCEPTIONS` lists every kind of answer about which our verdict is not that of the published verifiers
(MiniMax-AI/SynLogic, 6794f97), because theirs is plainly wrong. A judgement that rests on one names it, so a comparison
can tell a known difference from a fault of ours. Pickiness about format is no fault: it is part of the evaluation as
published, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ....store.layout.schema import Verdict

LONGEST_RESPONSE = 100_000
"""Characters; a longer response holds no answer."""


@dataclass(frozen=True)
class Difference:
    """A kind of answer that the published verifiers judge wrongly.

    Attributes:
        ours: our verdict; theirs is the other one.
        reason: what theirs does, and why that is wrong.
    """

    ours: Verdict
    reason: str


EXCEPTIONS = {
    "arrow_maze.digit_in_blank": Difference(
        "wrong", "a blank filled with a number of its own passes; the puzzle asks for arrows"
    ),
    "calcudoko.cells": Difference("wrong", "missing cells are filled with 1 and surplus ones cut off before judging"),
    "dyck_language_errors.negated": Difference(
        "wrong", "`invalid`, `incorrect` and 不合法 hold the words that are read as -1, a valid sequence"
    ),
    "dyck_language_reasoning_errors.no_answer": Difference(
        "wrong", "any text without a digit counts as `no errors`, be it `I cannot tell`"
    ),
    "futoshiki.givens": Difference(
        "wrong", "given numbers are looked for below an English heading, so a Chinese puzzle's may be changed"
    ),
    "game_of_24.operators": Difference("wrong", "`**` and `//` pass as pairs of given operators"),
    "game_of_24.value": Difference("wrong", "the value is compared with itself, never with the target"),
    "math_path.no_equation": Difference(
        "wrong", "the sides are compared by evaluating the text, so an expression without `=` passes unless it is 0"
    ),
    "math_path.structure": Difference(
        "wrong", "only digits and signs are compared, so brackets may be moved to make the equation true"
    ),
    "minesweeper.no_answer": Difference("wrong", "where no mine is certain, a response without any answer passes"),
    "norinori.empty_region": Difference("wrong", "a region with no covered cell passes; the puzzle asks for two"),
    "number_wall.invented_number": Difference("wrong", "a number that was not given passes as an island of its own"),
    "object_counting.underscore": Difference("wrong", "`4_5` is read as 45, as Python source is"),
    "object_properties.underscore": Difference("wrong", "`4_5` is read as 45, as Python source is"),
    "object_properties.unknown": Difference("right", "the answer `unknown`, which the puzzle asks for, never passes"),
    "operation.text": Difference(
        "right", "a decimal in a `\\text{…}` in the box is not read, although a whole number there is"
    ),
}
"""Kind → how we differ. A name is that of the task and what the response does."""


@dataclass(frozen=True)
class Judgement:
    """Of one response.

    Attributes:
        verdict: `right` or `wrong`; `unjudged` where the puzzle's own data cannot be read.
        extracted: whether the response holds anything that could be its answer.
        exception: the entry of `EXCEPTIONS` that the verdict rests on; None where the published verifier agrees.
    """

    verdict: Verdict
    extracted: bool = True
    exception: str | None = None

    @property
    def published(self) -> Verdict:
        """The verdict of the published verifier."""
        if self.exception is None:
            return self.verdict
        return "wrong" if self.verdict == "right" else "right"


RIGHT, WRONG, NOT_FOUND = Judgement("right"), Judgement("wrong"), Judgement("wrong", extracted=False)
UNJUDGED = Judgement("unjudged", extracted=False)


def judged(right: bool) -> Judgement:
    """Of an answer that was found."""
    return RIGHT if right else WRONG


def differing(kind: str, *, extracted: bool = True) -> Judgement:
    """A judgement that rests on an entry of `EXCEPTIONS`."""
    return Judgement(EXCEPTIONS[kind].ours, extracted, kind)


class PuzzleUnreadable(ValueError):
    """The data of a puzzle, not of a response, lacks something or has it in another form."""


@dataclass(frozen=True)
class Puzzle:
    """What a verifier may know.

    Attributes:
        answer: the reference answer; text, number, list or None.
        question: the prompt's text.
        metadata: the generator's description of the puzzle.
    """

    answer: Any
    question: str
    metadata: Mapping[str, Any]

    def value(self, path: str) -> Any:
        """Of the metadata, by `name` or `name.name`.

        Raises:
            PuzzleUnreadable: it is not there.
        """
        value: Any = self.metadata
        for name in path.split("."):
            if not isinstance(value, Mapping) or name not in value:
                raise PuzzleUnreadable(f"the puzzle has no `{path}`")
            value = value[name]
        return value

    def text(self, path: str) -> str:
        """A text of the metadata."""
        value = self.value(path)
        return value if isinstance(value, str) else _refuse(path, "a text")

    def integer(self, path: str) -> int:
        """A whole number of the metadata."""
        value = self.value(path)
        return value if isinstance(value, int) else _refuse(path, "a whole number")

    def items(self, path: str, kind: type) -> list[Any]:
        """A list of the metadata, all of one kind."""
        value = self.value(path)
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            _refuse(path, f"a list of {kind.__name__}")
        return list(value)

    def grid(self, path: str) -> list[list[Any]]:
        """Rows of equal length, at least one cell."""
        rows = self.items(path, list)
        if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
            _refuse(path, "a grid")
        return rows

    def pairs(self, path: str) -> list[tuple[int, int]]:
        """A list of pairs of whole numbers."""
        rows = self.items(path, list)
        if any(len(row) != 2 or not all(isinstance(number, int) for number in row) for row in rows):
            _refuse(path, "a list of pairs")
        return [(first, second) for first, second in rows]

    def answer_text(self) -> str:
        """The reference answer as text."""
        return self.answer if isinstance(self.answer, str) else _refuse("answer", "a text")


def _refuse(path: str, wanted: str) -> Any:
    raise PuzzleUnreadable(f"`{path}` of the puzzle is not {wanted}")


@dataclass(frozen=True)
class Verifier:
    """Of one task.

    Attributes:
        judge: from the text of an answer and its puzzle to a judgement; raises `PuzzleUnreadable` and nothing else.
        needs: names of the metadata it reads (`name` or `name.name`).
        needs_question: whether it reads the prompt's text.
        needs_answer: whether it reads the reference answer.
    """

    judge: Callable[[str, Puzzle], Judgement]
    needs: tuple[str, ...] = ()
    needs_question: bool = False
    needs_answer: bool = False


def answer_text(response: str, *, tags: bool = True) -> str:
    """The part of a response that is judged.

    With `tags`, the text of the first `<answer>…</answer>` after the first `</think>`, without space around it; the
    whole response where there is no such pair, or without `tags`.
    """
    if not tags:
        return response
    rest = response.split("</think>", 2)[1] if "</think>" in response else response
    start = rest.find("<answer>")
    end = rest.find("</answer>", start)
    return rest[start + len("<answer>") : end].strip() if 0 <= start < end else response
