"""Counting optimizer steps, so that a probe knows which step a forward belongs to without being told."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook


class StepClock:
    """Calls `tick()` after each step of an optimizer that holds parameters of the model.

    Where several optimizers share the model's parameters (Muon with AdamW), the first one that steps is the clock; the
    steps of another one tick only while `pending()` says that something was scored since the last tick. All of it runs
    through `guard(function, *arguments)`, which lets no error through.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tick: Callable[[], None],
        pending: Callable[[], bool],
        guard: Callable[..., None],
    ) -> None:
        self._model = weakref.ref(model)
        self._tick, self._pending = tick, pending
        self._clock: weakref.ref[Any] | None = None
        self._handle = register_optimizer_step_post_hook(lambda optimizer, *_: guard(self._stepped, optimizer))

    def remove(self) -> None:
        """Stop counting."""
        self._handle.remove()

    def _stepped(self, optimizer: Any) -> None:
        clock = self._clock() if self._clock is not None else None
        if optimizer is not clock and not self._holds_parameters(optimizer):
            return
        if clock is None:
            self._clock = weakref.ref(optimizer)
        if clock in (None, optimizer) or self._pending():
            self._tick()

    def _holds_parameters(self, optimizer: Any) -> bool:
        model = self._model()
        if model is None:
            return False
        # Looked up each time: FSDP and PEFT replace parameters after the probe was attached.
        ids = {id(parameter) for parameter in model.parameters()}
        return any(id(parameter) in ids for group in optimizer.param_groups for parameter in group["params"])
