"""What a task is: problems with verifiable answers, and a judge of responses.

A task's data sets have the columns `prompt` (text, or chat messages where the tokenizer has a chat template),
`prompt_id` (text, stable over runs) and `answer` (what the judge needs: one gold answer, or every right one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ...store.layout.schema import Verdict  # which loads pyarrow; the math grader's processes start without it
    from .catalogue import Benchmark


@runtime_checkable
class Task(Protocol):
    """Problems with verifiable answers.

    Attributes:
        name: the task's name on the command line.
        train: `datasets.Dataset` of problems to train on.
        validation: problems to choose settings by, neither trained on nor held out, or None.
        heldout: problems to evaluate on, or None when the task was given none.
        enumerates_answers: whether `answer` lists every right response, so that success has an exact probability.
        max_completion_length: response tokens that an evaluation allows when nothing else is said.
        stop: texts that end a response; empty where the end token alone does.
        settings: how the paper draws from it, and in which style prompts are written; None where nobody has said.
    """

    name: str
    train: Any
    validation: Any
    heldout: Any
    enumerates_answers: bool
    max_completion_length: int
    stop: tuple[str, ...]
    settings: Benchmark | None

    def judge(self, texts: Sequence[str], answers: Sequence[Any]) -> list[Verdict]:
        """Judge B response texts (special tokens removed) against their `answer` values."""
        ...

    def extracted(self, texts: Sequence[str]) -> list[bool]:
        """Whether each of B responses holds anything that the judge could take for an answer: no right one is False.

        Asked about the batch judged last, in its order, the answer is the judge's own.
        """
        ...

    def close(self) -> None:
        """Stop whatever the judge keeps running; the task can still be used afterwards."""
        ...


@dataclass(frozen=True)
class Disagreement:
    """Of the two graders about one batch of answers.

    Attributes:
        judged: answers that the first grader judged right or wrong.
        right_for_second: those of them that were wrong and the second grader calls right.
        wrong_for_second: those of them that were right and the second grader calls wrong, or could not tell.
    """

    judged: int = 0
    right_for_second: int = 0
    wrong_for_second: int = 0

    @property
    def count(self) -> int:
        """Answers whose verdicts differ."""
        return self.right_for_second + self.wrong_for_second


def disagreement_of(task: Task) -> Disagreement | None:
    """Of the task's two graders about the newest batch it judged; None for a task with one judge."""
    result = getattr(task, "disagreement", None)
    return result if isinstance(result, Disagreement) else None


def judge_listed(texts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Verdict]:
    """The judge of tasks whose `answer` lists every right response, compared word for word."""
    return ["right" if " ".join(text.split()) in right else "wrong" for text, right in zip(texts, answers, strict=True)]


def extracted_listed(texts: Sequence[str]) -> list[bool]:
    """Whether each response says anything at all, for `judge_listed`."""
    return [bool(text.strip()) for text in texts]
