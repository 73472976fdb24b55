"""What stands between the probe and training: its errors never get through, its time is counted."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any


class Guard:
    """Calls the probe's own work on the training thread.

    Attributes:
        errors: errors caught; the first one is warned about, and the probe is to do nothing more.
        spent_ms: wall time of the calls since it was set to 0.
    """

    def __init__(self) -> None:
        self.errors = 0
        self.spent_ms = 0.0

    def __call__(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function; its errors are counted, not raised. Ctrl-C gets through."""
        began = time.perf_counter()
        try:
            function(*args)
        except Exception as error:
            self.errors += 1
            if self.errors == 1:
                say(f"the probe is switched off, training goes on: {type(error).__name__}: {error}")
        self.spent_ms += 1e3 * (time.perf_counter() - began)


def say(message: str) -> None:
    """Warn, and never raise: where warnings are errors (`python -W error`), print to standard error instead."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    except Warning:
        with contextlib.suppress(Exception):
            print(f"warning: {message}", file=sys.stderr, flush=True)


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C, or what a library made of it: a worker that the same Ctrl-C ended, for one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
