"""How training ends: all processes together, or early by Ctrl-C, a launcher's SIGTERM, a process that is gone."""

from __future__ import annotations

import contextlib
import gc
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch

from ..errors import RankLost
from .checkpoints import newest_whole, step_of


@contextlib.contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM is treated like Ctrl-C in here, and ignored from then on.

    A launcher sends it to the processes that outlive another one, often just when those have noticed by themselves and
    are closing their log.
    """
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_interrupt(_signal: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def lost_rank(error: RuntimeError, run_dir: Path) -> RankLost | None:
    """The user error that a failed collective stands for; None for another error.

    Gloo says in words alone that a process is gone, other back ends by type.
    """
    if not (isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)):
        return None
    reason = re.sub(r"\[[^]]*\](:\d+)?:?\s*", "", str(error)).split(". ")[0].splitlines()[0]
    whole, _ = newest_whole(run_dir)
    left = (
        f"--resume {run_dir} continues from step {step_of(whole)}"
        if whole
        else "there is no whole checkpoint to continue from"
    )
    return RankLost(
        f"another process of the run is gone, training cannot go on ({reason}); what was logged is in {run_dir}, "
        f"and {left}"
    )


def wait_for_everyone(accelerator: Any, run_dir: Path) -> None:
    """Until every process is here.

    Raises:
        RankLost: one will not come any more: it could not save the model, for example.
    """
    try:
        accelerator.wait_for_everyone()
    except RuntimeError as error:
        if lost := lost_rank(error, run_dir):
            raise lost from error
        raise


def leave_together() -> None:
    """Wait for every process, then take the process group down while the interpreter is whole.

    For the end of a script, when nobody trains any more and no model wrapped for several processes is referred to.
    Gloo's threads hold tensors: one that is still there while Python is being taken down ends a process that has
    finished its work with SIGABRT.
    """
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        gc.collect()  # a trainer and its callbacks refer to each other, and one of them to the group
