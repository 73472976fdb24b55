"""What happens at the edges of a step: the probe's step ends, pass@k is measured, a checkpoint waits its turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from ...probes.probe import NullProbe, Probe
from .micro_batches import micro_batches_of


class EndStep(TrainerCallback):
    """Tells the probe that an optimizer step is over, so that its roll-up can be written."""

    def __init__(self, probe: Probe | NullProbe) -> None:
        self._probe = probe

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """`global_step` already counts the step that just ended."""
        self._probe.end_step(state.global_step)


class SaveBetweenRollouts(TrainerCallback):
    """Lets a checkpoint that is due wait until the rollout batch in use has been trained on.

    The trainer's checkpoints do not hold rollouts: continued from the middle of a batch, a run would sample the rest of
    it anew and go another way than the run that was not interrupted. The last step's checkpoint does not wait.
    """

    def __init__(self) -> None:
        self._due = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the trainer's own callback, which says what is due."""
        self._due |= control.should_save
        scored = micro_batches_of(state, args, kwargs.get("train_dataloader"))
        between = scored % (args.steps_per_generation * args.num_iterations) == 0
        control.should_save = self._due and (between or control.should_training_stop)
        if control.should_save:
            self._due = False


class PassAtKCallback(TrainerCallback):
    """Measures held-out pass@k before the first step, every so many steps, and after the last.

    Args:
        evaluate: called with the number of steps done, on every rank.
        every: steps between evaluations.
    """

    def __init__(self, evaluate: Callable[[int], None], every: int) -> None:
        self._evaluate, self._every = evaluate, every
        self._last: int | None = None

    def _at(self, step: int) -> None:
        if step != self._last:
            self._last = step
            self._evaluate(step)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before training; a resumed run has measured its first step already."""
        if state.global_step == 0:
            self._at(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Every `every` steps."""
        if state.global_step % self._every == 0:
            self._at(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the last step."""
        self._at(state.global_step)
