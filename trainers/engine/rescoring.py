"""What an optimizer step has done to the tokens it was made from: they are scored again, and the change is logged.

Ordinarily the log shows a distribution once, before the step. Scoring the same micro-batches again after it measures
how log p(rank k) has changed on the same states, free of the noise of other prompts and other samples; that is what a
push is compared with. It costs one forward a rescored step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from ...probes.statistics.token_stats import TokenStats

Score = Callable[[Any, dict[str, Any]], TokenStats]
"""Model and inputs of a micro-batch → its ranked statistics under the present parameters."""
Report = Callable[[TokenStats, TokenStats, dict[str, Any]], None]
"""Takes the statistics before and after the step, and the inputs they are of."""


class Rescoring(TrainerCallback):
    """Scores the micro-batches of every n-th optimizer step again when it ends; added before `EndStep`.

    Args:
        score: scores a micro-batch.
        report: takes what the step did to one.
        every: optimizer steps between rescored ones.
    """

    def __init__(self, score: Score, report: Report, every: int) -> None:
        self._score, self._report, self._every = score, report, every
        self._kept: list[tuple[Any, dict[str, Any], TokenStats]] = []

    def keep(self, step: int, model: Any, inputs: dict[str, Any], stats: TokenStats) -> None:
        """Take a micro-batch that optimizer step `step` was just made from; kept only where that step is due."""
        if step % self._every == 0:
            self._kept.append((model, inputs, stats.detach()))

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score again what was kept, under the parameters after the step."""
        for model, inputs, before in self._kept:
            self._report(before, self._score(model, inputs), inputs)
        self._kept.clear()
