"""Stops a run whose loss, Λ(k) or pass@k is no number any more: every step after that one would train on nothing.

The loss is looked at once per optimizer step, by all processes together, so that they stop together; TRL's own log
shows a mean that leaves NaN out. Other figures are looked at when they are logged.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Literal

import torch
from transformers import TrainerCallback

from .figures import PREFIX


class Diverged(Exception):
    """A figure of the training turned NaN or infinite; the message says which and when."""


def cannot_sample(error: RuntimeError) -> bool:
    """Whether generation failed because the policy's probabilities are no numbers: `torch.multinomial` says so."""
    return "probability tensor contains" in str(error)


class NaNGuard(TrainerCallback):
    """Looks at what training logs, and at the loss of each micro-batch through `see`.

    Args:
        on_nan: `stop` raises `Diverged`; `warn` says it once for each figure and goes on.
        accelerator: of the trainer, by which processes agree.
    """

    def __init__(self, on_nan: Literal["stop", "warn"], accelerator: Any) -> None:
        self._on_nan, self._accelerator = on_nan, accelerator
        self._finite: torch.Tensor | None = None
        self._logged: str | None = None
        self._warned: set[str] = set()

    def see(self, loss: torch.Tensor) -> None:
        """Take the loss of a micro-batch; nothing is read from the device here."""
        finite = loss.detach().isfinite().all()
        self._finite = finite if self._finite is None else self._finite & finite

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the losses of the step, and with several processes what any of them has logged."""
        if self._finite is None:
            return
        finite = self._finite.float() * (self._logged is None)
        every = self._accelerator.reduce(finite, reduction="sum")
        figure, self._finite, self._logged = self._logged or "the loss", None, None
        if int(every.item()) < self._accelerator.num_processes:
            self._tell(figure, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Judge the figures logged. Some are logged by one process alone: with several, the step's end tells all."""
        for name, value in (logs or {}).items():
            if _is_judged(name) and isinstance(value, float) and not math.isfinite(value):
                if self._accelerator.num_processes == 1:
                    self._tell(_shown(name), state.global_step)
                else:
                    self._logged = _shown(name)

    def _tell(self, figure: str, step: int) -> None:
        line = f"step {step}: {figure} is NaN or infinite"
        if self._on_nan == "stop":
            raise Diverged(line)
        if figure not in self._warned and self._accelerator.is_main_process:
            self._warned.add(figure)
            print(f"warning: {line}; training goes on (--on_nan warn)", file=sys.stderr)


def _is_judged(name: str) -> bool:
    return name.startswith((PREFIX + "lambda_", PREFIX + "pass_at_")) or name == "loss"


def _shown(name: str) -> str:
    name = name.removeprefix(PREFIX)
    if name.startswith("lambda_"):
        return f"Λ({name.removeprefix('lambda_')})"
    return name.replace("pass_at_", "pass@")
