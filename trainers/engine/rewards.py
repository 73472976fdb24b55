"""A task's judge as a reward function of TRL: 1.0 right, 0.0 wrong, None where it could not be judged.

TRL leaves a None out of the group's mean and gives the response no advantage, so a grader's time-out never becomes a
silent zero. The share of responses about which a task's two graders disagree is logged as `graders_disagree`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ..evaluation.decoding import response_texts
from ..tasks import Task
from ..tasks.base import disagreement_of


class TaskReward:
    """The reward function; a context manager, because a judge may own worker processes."""

    __name__ = "right"  # TRL logs the reward under this name

    def __init__(self, task: Task, tokenizer: Any = None) -> None:
        self._task, self._tokenizer = task, tokenizer

    def __call__(
        self,
        completions: list[Any],
        answer: list[Any],
        completion_ids: list[list[int]] | None = None,
        log_metric: Any = None,
        **columns: Any,
    ) -> list[float | None]:
        """Judge a rollout batch.

        Args:
            completions: B texts, or B one-message conversations.
            answer: the B gold answers.
            completion_ids: the B responses as tokens; judged instead of the texts where right answers are listed.
            log_metric: TRL's hook for scalar metrics.
            **columns: every other column of the data set, repeated per response.
        """
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        if self._task.enumerates_answers and self._tokenizer is not None and completion_ids is not None:
            texts = response_texts(self._tokenizer, completion_ids, exact=True)
        verdicts = self._task.judge(texts, answer)
        if log_metric is not None:
            log_metric("unjudged", sum(v == "unjudged" for v in verdicts) / len(verdicts))
            disagreement = disagreement_of(self._task)
            if disagreement is not None:
                log_metric("graders_disagree", disagreement.count / len(verdicts))
        return [None if v == "unjudged" else float(v == "right") for v in verdicts]

    def __enter__(self) -> TaskReward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.close()
