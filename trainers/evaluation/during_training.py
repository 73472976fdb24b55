"""pass@k of the policy in training: measured on the main process, logged to the run and to every tracker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ...probes.probe import NullProbe, Probe
from ..tasks.base import Task
from .pass_at_k import evaluate


class HeldoutPassAtK:
    """Measures when called with the number of steps done; every process may call it.

    Args:
        trainer: whose model is measured, with its temperature and length of responses.
        task: gives the problems.
        probe: logs the rows of `evals`.
        say: takes the line for the terminal.
        split: `heldout` or `validation`.
        samples: responses drawn per problem; 0: exact pass@k only.
        limit: problems measured; None: all.
    """

    def __init__(
        self,
        trainer: Any,
        task: Task,
        probe: Probe | NullProbe,
        say: Callable[[str], None],
        *,
        split: Literal["heldout", "validation"],
        samples: int,
        limit: int | None,
    ) -> None:
        self._trainer, self._task, self._probe, self._say = trainer, task, probe, say
        self._split: Literal["heldout", "validation"] = split
        self._samples, self._limit = samples, limit

    def __call__(self, step: int) -> None:
        """Measure and log."""
        trainer = self._trainer
        if not trainer.accelerator.is_main_process:
            return
        result = evaluate(
            trainer.accelerator.unwrap_model(trainer.model),
            trainer.processing_class,
            self._task,
            split=self._split,
            samples=self._samples,
            limit=self._limit,
            temperature=trainer.temperature,
            max_new_tokens=trainer.max_completion_length,
            seed=trainer.args.seed + step,
        )
        self._probe.evals({"step": [step] * len(result), **result.columns})
        self._say(f"step {step}  {result.line}")
        # No `@`: not every tracker takes a name with one.
        trainer.log_figures({f"simko/pass_at_{k}": value for k, value in result.pass_at_k.items()})
