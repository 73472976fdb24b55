"""What an optimizer step has done to the tokens it was made from: they are scored again, and the change is logged.

Ordinarily the log shows a distribution once, before the step. Scoring the same micro-batches again after it measures
how log p(rank k) has changed on the same states, free of the noise of other prompts and other samples; that is what a
push is compared with. It costs one forward a rescored step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from ..probes.row_stats import TokenStats

if TYPE_CHECKING:
    from .engine import RankedGRPOTrainer


class Rescoring(TrainerCallback):
    """Scores the micro-batches of every n-th optimizer step again when it ends; added before `EndStep`.

    Args:
        trainer: whose micro-batches.
        every: optimizer steps between rescored ones.
    """

    def __init__(self, trainer: RankedGRPOTrainer, every: int) -> None:
        self._trainer, self._every = trainer, every
        self._kept: list[tuple[Any, dict[str, Any], TokenStats]] = []

    def keep(self, model: Any, inputs: dict[str, Any], stats: TokenStats) -> None:
        """Take a micro-batch that was just scored, with its statistics; kept only where its step is due."""
        if (self._trainer.state.global_step + 1) % self._every == 0:
            self._kept.append((model, inputs, stats.detach()))

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score again what was kept, under the parameters after the step."""
        for model, inputs, before in self._kept:
            after = self._trainer.score(model, inputs)
            self._trainer.probe.rescored(before, after, verdicts=inputs["verdict"], mask=inputs["loss_mask"])
        self._kept.clear()
