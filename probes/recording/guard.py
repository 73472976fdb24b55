"""What stands between the probe and training: its errors never get through, its time is counted."""

from __future__ import annotations

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
        """Call a function; its errors are counted, not raised."""
        began = time.perf_counter()
        try:
            function(*args)
        except Exception as error:
            self.errors += 1
            if self.errors == 1:
                warnings.warn(
                    f"the probe is switched off, training goes on: {type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=3,
                )
        self.spent_ms += 1e3 * (time.perf_counter() - began)
