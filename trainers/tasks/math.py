"""Math problems with one gold answer each, judged by math-verify: `math`, `gsm8k`, `gsm8k_math1` and the benchmarks.

`gsm8k_math1` is what the paper trains Llama-3.2-3B on. Its published file holds GSM8K's training part (7 473), MATH's
training part of level 1 (564) and 351 problems of level 1 from MATH's test part, none of them in MATH-500: 8 388 in
all. Built from the hub it leaves the last ones out, since which they are is not published: 8 037 problems.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...store.layout.schema import Verdict
from .base import Disagreement
from .catalogue import CATALOGUE, Benchmark
from .dataset import Purpose, Row, read_rows
from .graders.boxed import last_boxed, marked_number
from .graders.grading import MathGrader
from .graders.grading_worker import TAIL_CHARACTERS
from .problems import as_dataset
from .prompts import MATH, Prompts, cut

TRAIN = CATALOGUE["math"].source
HELDOUT = CATALOGUE["math500"].source
GSM8K = CATALOGUE["gsm8k"].source
MAX_COMPLETION_LENGTH = 3072
GSM8K_MAX_COMPLETION_LENGTH = 512
_READABLE = re.compile(r"\d|\$|\\\(|\\\[")
"""Without a box the grader takes numbers and formulas; a text with none of these holds no answer."""

_log = logging.getLogger(__name__)


class MathTask:
    """A `Task` over problems with a gold answer; `answer` is that answer.

    Args:
        name: the task's name.
        train: training problems, path or hub id, or None.
        heldout: held-out problems, path or hub id, or None.
        tokenizer: with a chat template, prompts are chat messages; otherwise plain text.
        prompt_style: to have them otherwise.
        max_completion_length: response tokens of an evaluation.
        limit: at most that many training rows.
        eval_limit: at most that many held-out rows.
        settings: how the paper draws from it, or None.

    Raises:
        DatasetNotFound, DatasetUnreadable, ColumnsMissing: a data set cannot be used.
        TaskOptionRefused, ChatTemplateUnusable: the prompts cannot be written as asked.
    """

    enumerates_answers = False

    def __init__(
        self,
        name: str,
        train: str | None,
        heldout: str | None,
        *,
        tokenizer: Any = None,
        prompt_style: str | None = None,
        max_completion_length: int = MAX_COMPLETION_LENGTH,
        limit: int | None = None,
        eval_limit: int | None = None,
        settings: Benchmark | None = None,
    ) -> None:
        self.name = name
        self.max_completion_length = max_completion_length
        self.prompts = Prompts(MATH, tokenizer, prompt_style, name)
        self.stop = self.prompts.stop
        self.settings: Benchmark | None = settings and replace(settings, prompt=self.prompts.style, stop=self.stop)
        self.train = None if train is None else self._load(train, "train", limit)
        self.validation = None
        self.heldout = None if heldout is None else self._load(heldout, "eval", eval_limit)
        self._grader = MathGrader()

    def _load(self, source: str, purpose: Purpose, limit: int | None) -> Any:
        name, rows = read_rows(source, purpose, limit)
        return self.dataset_of(rows, name, source)

    def dataset_of(self, rows: Sequence[Row], name: str, source: str) -> Any:
        """A data set of rows; those without a gold answer are left out, with a warning."""
        dataset, left_out = as_dataset(rows, name, prompts=self.prompts, source=source)
        if left_out:
            _log.warning("%d of %d rows of %s have no gold answer and are left out", left_out, len(rows), source)
        return dataset

    def judge(self, texts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """By math-verify, with a time limit, and once more by the paper's rules; see `graders/grading.py`."""
        return self._grader.judge([cut(text, self.stop) for text in texts], answers)

    def extracted(self, texts: Sequence[str]) -> list[bool]:
        """Whether a response has a box, a number after `####`, or a number or formula near its end."""
        return [_holds_an_answer(cut(text, self.stop)) for text in texts]

    @property
    def disagreement(self) -> Disagreement:
        """Of the two graders about the newest batch."""
        return self._grader.disagreement

    def close(self) -> None:
        """Stop the grader's processes."""
        self._grader.close()


def _holds_an_answer(text: str) -> bool:
    if last_boxed(text) is not None or marked_number(text) is not None:
        return True
    return _READABLE.search(text[-TAIL_CHARACTERS:]) is not None


def math_task(name: str, *, dataset: str | None, eval_dataset: str | None, **options: Any) -> MathTask:
    """`math`, `gsm8k` or `gsm8k_math1` from the hub, or the data sets given.

    A data set of one's own has no held-out part of its own.
    """
    options["settings"] = CATALOGUE[name]
    if name == "gsm8k":
        options["max_completion_length"] = GSM8K_MAX_COMPLETION_LENGTH
        return MathTask(name, dataset or GSM8K, eval_dataset or (None if dataset else GSM8K), **options)
    if name == "math" or dataset is not None:
        return MathTask(name, dataset or TRAIN, eval_dataset or (None if dataset else HELDOUT), **options)
    limit = options.pop("limit", None)
    task = MathTask(name, None, eval_dataset or HELDOUT, **options)
    rows = mix(read_rows(GSM8K, "train")[1], read_rows(TRAIN, "train")[1])[:limit]
    task.train = task.dataset_of(rows, name, CATALOGUE[name].source)
    return task


def mix(gsm8k: Sequence[Row], math: Sequence[Row]) -> list[Row]:
    """GSM8K and the problems of level 1 of MATH, in this order."""
    easy = [row for row in math if row.get("level") in ("Level 1", 1)]
    expected = CATALOGUE["gsm8k_math1"].rows
    if len(gsm8k) + len(easy) != expected:
        _log.warning(
            "gsm8k_math1 has %d problems (GSM8K %d, MATH level 1 %d); the published file has %d, with 351 of MATH's "
            "test part: give it with --dataset to train on the same ones",
            len(gsm8k) + len(easy), len(gsm8k), len(easy), expected,
        )  # fmt: skip
    return [*gsm8k, *easy]
