"""What a task is: problems with verifiable answers, and a judge of responses.

A task's data sets have the columns `prompt` (text, or chat messages where the tokenizer has a chat template),
`prompt_id` (text, stable over runs) and `answer` (what the judge needs: one gold answer, or every right one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from ...store.layout.schema import Verdict


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
    """

    name: str
    train: Any
    validation: Any
    heldout: Any
    enumerates_answers: bool
    max_completion_length: int

    def judge(self, texts: Sequence[str], answers: Sequence[Any]) -> list[Verdict]:
        """Judge B response texts (special tokens removed) against their `answer` values."""
        ...

    def close(self) -> None:
        """Stop whatever the judge keeps running; the task can still be used afterwards."""
        ...


def judge_listed(texts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Verdict]:
    """The judge of tasks whose `answer` lists every right response, compared word for word."""
    return ["right" if " ".join(text.split()) in right else "wrong" for text, right in zip(texts, answers, strict=True)]
