"""Grade-school word problems whose gold answer follows `####`; from the hub unless a data set is given."""

from __future__ import annotations

from typing import Any

from .math import MathTask

HUB = "openai/gsm8k:main"
MAX_COMPLETION_LENGTH = 512


def gsm8k_task(*, dataset: str | None, eval_dataset: str | None, **options: Any) -> MathTask:
    """GSM8K from the hub, or the data sets given; a data set of one's own has no held-out part of its own."""
    options["max_completion_length"] = MAX_COMPLETION_LENGTH
    if dataset is None:
        return MathTask("gsm8k", HUB, eval_dataset or HUB, **options)
    return MathTask("gsm8k", dataset, eval_dataset, **options)
