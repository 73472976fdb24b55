"""Math problems with one gold answer each, judged by math-verify; `--task math` is the MATH data set by default."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ...store.layout.schema import Verdict
from .base import Disagreement
from .dataset import Purpose, read_rows
from .grading import MathGrader
from .problems import as_dataset

TRAIN = "DigitalLearningGmbH/MATH-lighteval"
HELDOUT = "HuggingFaceH4/MATH-500"
MAX_COMPLETION_LENGTH = 3072

_log = logging.getLogger(__name__)


class MathTask:
    """A `Task` over problems with a gold answer; `answer` is that answer.

    Args:
        name: the task's name.
        train: training problems, path or hub id.
        heldout: held-out problems, path or hub id, or None.
        tokenizer: with a chat template, prompts are chat messages; otherwise plain text.
        max_completion_length: response tokens of an evaluation.
        limit: at most that many training rows.
        eval_limit: at most that many held-out rows.

    Raises:
        DatasetNotFound, DatasetUnreadable, ColumnsMissing: a data set cannot be used.
    """

    enumerates_answers = False

    def __init__(
        self,
        name: str,
        train: str,
        heldout: str | None,
        *,
        tokenizer: Any = None,
        max_completion_length: int = MAX_COMPLETION_LENGTH,
        limit: int | None = None,
        eval_limit: int | None = None,
    ) -> None:
        self.name = name
        self.max_completion_length = max_completion_length
        self._chat = getattr(tokenizer, "chat_template", None) is not None
        self.train = self._load(train, "train", limit)
        self.validation = None
        self.heldout = None if heldout is None else self._load(heldout, "eval", eval_limit)
        self._grader = MathGrader()

    def _load(self, source: str, purpose: Purpose, limit: int | None) -> Any:
        name, rows = read_rows(source, purpose, limit)
        dataset, left_out = as_dataset(rows, name, chat=self._chat, source=source)
        if left_out:
            _log.warning("%d of %d rows of %s have no gold answer and are left out", left_out, len(rows), source)
        return dataset

    def judge(self, texts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """By math-verify, with a time limit, and once more by the paper's rules; see `grading.py`."""
        return self._grader.judge(texts, answers)

    @property
    def disagreement(self) -> Disagreement:
        """Of the two graders about the newest batch."""
        return self._grader.disagreement

    def close(self) -> None:
        """Stop the grader's processes."""
        self._grader.close()


def math_task(*, dataset: str | None, eval_dataset: str | None, **options: Any) -> MathTask:
    """MATH from the hub, or the data sets given; a data set of one's own has no held-out part of its own."""
    if dataset is None:
        return MathTask("math", TRAIN, eval_dataset or HELDOUT, **options)
    return MathTask("math", dataset, eval_dataset, **options)
