"""How long the probe's own kernels take on a CUDA device, measured without stopping the training stream.

Events are put into the stream before and after the work; the recorder's thread, which waits for the copies anyway, asks
for the time between them. On other devices there is nothing to ask: what runs on the training thread is its wall time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class DeviceTime:
    """The device time of the calls made with `timed` since it was collected last."""

    def __init__(self) -> None:
        self._spans: list[tuple[Any, Any]] = []

    def timed(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function between two events in the current stream; where CUDA is not in use, just call it."""
        if not torch.cuda.is_initialized():
            return function(*args, **kwargs)
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        try:
            return function(*args, **kwargs)
        finally:
            ended.record()
            self._spans.append((began, ended))

    def collect(self) -> Callable[[], float] | None:
        """A function that waits for the calls so far and gives their milliseconds; None where none were timed."""
        spans, self._spans = self._spans, []
        return (lambda: sum(_between(*span) for span in spans)) if spans else None


def _between(began: Any, ended: Any) -> float:
    ended.synchronize()
    milliseconds: float = began.elapsed_time(ended)
    return milliseconds
