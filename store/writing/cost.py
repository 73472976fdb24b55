"""What logging costs a run: totals of a recorder, and the figures of each step for the table `costs`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass
class RecorderCost:
    """What recording has cost so far: rows, bytes, files, batches dropped, milliseconds writing and waiting."""

    rows: int = 0
    bytes: int = 0
    files: int = 0
    dropped: int = 0
    write_ms: float = 0.0
    queue_wait_ms: float = 0.0


class StepCosts:
    """Turns the totals of a recorder into figures of each step; nothing is attributed twice.

    `end` is called on the training thread, `written` on the recorder's, once for every `end` and in the same order.
    """

    def __init__(self, total: RecorderCost) -> None:
        self._total = total
        self._seen, self._written = replace(total), replace(total)
        self._ended: float | None = None

    def end(self, step: int, capture_ms: float | None, device_ms: Callable[[], float] | None) -> dict[str, Any]:
        """What the training thread knows at the end of a step."""
        now, total = time.perf_counter(), replace(self._total)
        step_ms = None if self._ended is None else 1e3 * (now - self._ended)
        waited = total.queue_wait_ms - self._seen.queue_wait_ms
        result = {
            "step": step,
            "step_ms": step_ms,
            "capture_ms": None if capture_ms is None else max(0.0, capture_ms - waited),
            "device_ms": device_ms,
            "queue_wait_ms": waited,
            "n_dropped": total.dropped - self._seen.dropped,
        }
        self._seen, self._ended = total, now
        return result

    def written(self, ended: dict[str, Any]) -> dict[str, Any]:
        """The whole row of `costs`: what `end` has found, and what was written since the step before."""
        total, before = replace(self._total), self._written
        self._written = total
        device_ms = None
        if ended["device_ms"] is not None:
            with contextlib.suppress(Exception):  # a device that has failed must not cost the rows that were copied
                device_ms = ended["device_ms"]()
        return {
            **ended,
            "device_ms": device_ms,
            "write_ms": total.write_ms - before.write_ms,
            "n_rows": total.rows - before.rows,
            "n_bytes": total.bytes - before.bytes,
        }
