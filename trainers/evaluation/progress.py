"""What a person sees while checkpoints are evaluated: one bar over everything, a line for each evaluation that ends.

On a terminal the bar is tqdm's; elsewhere a line comes every `LINE_SECONDS`, with the rate and the time left.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 10.0


class EvaluationProgress:
    """Counts responses.

    Args:
        total: responses to draw, over all checkpoints and benchmarks.
        done: those drawn before.
    """

    def __init__(self, total: int, done: int) -> None:
        self._total, self._before, self._drawn = total, done, 0
        self._began = self._told = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty() and total:
            self._bar = tqdm(total=total, initial=done, unit="response", unit_scale=True, dynamic_ncols=True)

    def at(self, name: str) -> None:
        """Say what is being evaluated."""
        if self._bar is not None:
            self._bar.set_description(name)

    def advance(self, responses: int) -> None:
        """Count responses that were drawn, judged and written."""
        self._drawn += responses
        if self._bar is not None:
            self._bar.update(responses)
        elif time.monotonic() - self._told >= LINE_SECONDS:
            self._told = time.monotonic()
            print(self._line(), flush=True)

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stdout)
        else:
            print(line, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self) -> str:
        done = self._before + self._drawn
        rate = self._drawn / max(1e-9, time.monotonic() - self._began)
        left = _duration((self._total - done) / rate) if rate else "?"
        return f"{done}/{self._total} responses  {rate:.1f} responses/s, {left} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
