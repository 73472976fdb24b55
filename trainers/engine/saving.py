"""A model or a checkpoint that cannot be saved ends training in one line: what, where, why, and what is left."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from ...probes.recording.guard import was_interrupted
from ..errors import SaveFailed
from .checkpoints import newest_whole, step_of


@contextlib.contextmanager
def saving(what: str, folder: Path, *, run_dir: Path, logged: bool) -> Iterator[None]:
    """Around the writing of a model or a checkpoint.

    Args:
        what: is saved, as the message calls it.
        folder: where it is saved.
        run_dir: the run's folder.
        logged: whether the run has a log.

    Raises:
        SaveFailed: it cannot be written, for want of room or of permission.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = None if was_interrupted(error) else _reason(error)
        if reason is None:
            raise
        log = f"what was logged is in {run_dir} and stays readable; " if logged else ""
        whole, _ = newest_whole(run_dir)
        left = (
            f"make room there and continue from step {step_of(whole)}: simko-train --resume {run_dir}"
            if whole
            else "there is no whole checkpoint to continue from: make room there and train again, as another --run_name"
        )
        raise SaveFailed(f"cannot save {what} in {folder}: {reason}; {log}{left}") from error


def _reason(error: Exception) -> str | None:
    """Why a file cannot be written; None where the error is about something else."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, SafetensorError):  # Error while serializing: I/O error: No space left on device (os error 28)
        return re.sub(r" \(os error \d+\)", "", str(error)).split("I/O error: ")[-1]
    # `torch.save` tells how far it came, and not why it could not go on
    return "a file there cannot be written to its end" if "inline_container" in str(error) else None
