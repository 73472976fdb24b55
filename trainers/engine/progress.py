"""What a person sees while training runs: one bar with rate and time left, one short line a logged step.

On a terminal the bar is tqdm's; elsewhere (a log file, a pipe) each line carries step, rate and time left itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

_FIGURES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("reward", "reward", "{:6.3f}".format),
    ("frac_reward_zero_std", "signal", lambda without: f"{1 - without:4.0%}"),
    ("simko/lambda_1", "Λ(1)", "{:7.3f}".format),
    ("simko/lambda_2", "Λ(2)", "{:7.3f}".format),
    ("entropy", "entropy", "{:6.3f}".format),
    ("clip_ratio/region_mean", "clipped", "{:6.1%}".format),
)
"""Logged metric → its short name in a line, and how it is written: in the same width at every step. The signal is the
share of groups whose rewards differ: the others have no gradient."""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Progress(TrainerCallback):
    """Prints lines through the bar, so that neither breaks the other."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._began = time.monotonic()
        self._first_step = 0

    def say(self, line: str) -> None:
        """Print a line to stdout, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stdout)
        else:
            print(line, flush=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar."""
        self._began, self._first_step = time.monotonic(), state.global_step
        if state.is_world_process_zero and sys.stderr.isatty() and not args.disable_tqdm:
            self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """One short line of the figures that matter."""
        if not state.is_world_process_zero or not logs or "reward" not in logs:
            return
        figures = "  ".join(f"{name} {form(logs[key])}" for key, name, form in _FIGURES if logs.get(key) is not None)
        place = f"{state.global_step:>{len(str(state.max_steps))}}/{state.max_steps}"
        self.say(f"step {place}  {figures}{self._pace(state)}")

    def _pace(self, state: Any) -> str:
        done = state.global_step - self._first_step
        if self._bar is not None or done == 0:
            return ""
        rate = done / (time.monotonic() - self._began)
        return f"  {rate:5.2f} steps/s, {_duration((state.max_steps - state.global_step) / rate)} left"

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def replace_progress(trainer: Trainer) -> Progress:
    """Put our lines in the place of the trainer's own printing; returns the callback, to print through."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    progress = Progress()
    trainer.add_callback(progress)
    return progress
