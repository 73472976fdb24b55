"""A run that was resumed from an older step with another K, as it was written, merged, and merged and cleared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from batches import random_batch
from simko.store import Recorder
from simko.store.layout.run import create_or_resume
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.garbage import collect


def write_attempt(run: Path, attempt: int, start: int, steps: int, *, flush_seconds: float = 0, **options: int) -> None:
    """The steps start + 1 … start + steps of one process, with an evaluation of each and of the one before."""
    create_or_resume(run, {"run": run.name, "probe": {"k": 4}}, resume=run.exists())
    with Recorder(
        run, attempt=attempt, start_step=start, flush_seconds=flush_seconds, **{"k": 4, **options}
    ) as recorder:
        rng = np.random.default_rng([attempt, recorder.rank])
        for step in range(start, start + steps + 1):
            if step > start:
                recorder.put(random_batch(step, rng, first=100 * recorder.rank, k=recorder.k))
                recorder.put_responses({"step": [step], "response_id": [1000 * step], "verdict": ["right"]})
                recorder.end_step(step)
            success = {"success": [attempt / 4, rng.random()]}
            recorder.put_evals(
                {
                    "step": [step] * 2,
                    "prompt_id": ["p", "q"],
                    "split": ["heldout"] * 2,
                    "source": ["exact"] * 2,
                    **success,
                }
            )


def write_resumed(run: Path) -> None:
    """Two attempts of two processes, the second from an older step and with another K.

    A file of the first attempt holds steps that count beside steps that do not.
    """
    for rank in (0, 1):
        write_attempt(run, 1, 0, 4, rank=rank, world_size=2, flush_seconds=rank * 3600)
    for rank in (0, 1):
        write_attempt(run, 2, 2, 3, rank=rank, world_size=2, k=3)


def _merged(run: Path) -> None:
    assert compact(run).replaced > 4


def _cleared(run: Path) -> None:
    _merged(run)
    assert len(collect(run, grace=0)) > 4


def _gone_on(run: Path) -> None:
    _cleared(run)
    write_attempt(run, 3, 4, 1)


STATES: dict[str, Callable[[Path], None]] = {
    "written": lambda run: None,
    "merged": _merged,
    "cleared": _cleared,
    "gone on": _gone_on,
}
"""What has been done to the run since."""
