"""The study's folder: how far each run there is, whether it is the one planned, and what is put aside.

    <study>/study.json            the plan (see `record`)
    <study>/<run>/                a compared run, as `simko-train` writes it
    <study>/selection/<run>/      a run that chooses hyper-parameters
    <study>/bases/<task>-<seed>/  a base policy
    <study>/logs/<run>.log        what the run printed
    <study>/discarded/<run>-<n>/  the beginning of a run that could not be continued

A run that has finished is never touched again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ...store.errors import RunBusy, RunUnwritable, UsageError
from ...store.layout.manifest import read_manifest
from ...store.layout.run import RUN_FILE, read_run
from ..engine.checkpoints import newest_whole
from .plan import PlannedRun

State = Literal["to do", "done", "to continue", "to restart", "busy"]
_MACHINE = ("use_cpu", "dataloader_pin_memory", "disable_tqdm", "report_to")
"""Recorded options that say where a run ran, not what it was."""


def state(folder: Path) -> State:
    """How far a run is: its newest attempt decides, then whether there is a checkpoint."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return "to do"
    if not (folder / RUN_FILE).exists():
        return "to restart"
    attempts = read_manifest(folder).attempts
    if attempts and attempts[-1].status == "finished":
        return "done"
    if attempts and attempts[-1].status in ("running", "silent"):
        return "busy"
    return "to continue" if newest_whole(folder)[0] else "to restart"


def checked_state(run: PlannedRun) -> State:
    """How far a run is, having seen that what is there to keep is what was planned.

    Raises:
        UsageError: naming the run and the option that differs.
    """
    result = state(run.folder)
    if result in ("done", "to continue") and not run.unchosen:
        _check_recorded(run)
    return result


def _check_recorded(run: PlannedRun) -> None:
    recorded = read_run(run.folder)
    have: dict[str, Any] = recorded.get("config", {})
    want = json.loads(json.dumps(run.recorded))
    for name in sorted({*have, *want} - set(_MACHINE)):
        pair = [options.get(name) for options in (have, want)]
        if name == "model":  # the study may be called from another folder
            pair = [None if path is None else Path(path).name for path in pair]
        if pair[0] != pair[1]:
            was, planned = ("its default" if value is None else value for value in pair)
            raise UsageError(
                f"{run.folder} was run with {name} {was}, the study wants {planned}; choose another --output, or "
                "move that folder away to run it again"
            )


def discard(folder: Path, output: Path) -> None:
    """Put what is there aside; nothing is deleted."""
    aside = output / "discarded"
    aside.mkdir(exist_ok=True)
    n = 1
    while (target := aside / f"{folder.name}-{n}").exists():
        n += 1
    folder.rename(target)


@contextlib.contextmanager
def claimed(output: Path, study: str) -> Iterator[None]:
    """Make the study's folder and hold it against a second `simko study`.

    Raises:
        UsageError: another study, or a run, is there.
        RunBusy: another process is at work on it.
        RunUnwritable: it cannot be made or written.
    """
    import fcntl

    check_folder(output, study)
    try:
        (output / "logs").mkdir(parents=True, exist_ok=True)
        lock = (output / ".lock").open("w")
    except OSError as error:
        raise RunUnwritable(f"cannot write to {output} ({error.strerror or error}); choose another --output") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunBusy(f"another `simko study` is at work on {output}; wait for it") from error
        except OSError:
            pass  # a file system without locks: the runs themselves are held by their own
        yield


def check_folder(output: Path, study: str) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UsageError: naming what is there.
    """
    if (output / RUN_FILE).exists():
        raise UsageError(f"{output} holds a run, not a study; choose another --output")
    result = read_record(output).get("study", study)
    if result != study:
        raise UsageError(f"{output} holds the study {result}, not {study}; choose another --output")


def read_record(output: Path) -> dict[str, Any]:
    """The content of `study.json`; empty where there is none.

    Raises:
        UsageError: it is damaged.
    """
    path = output / "study.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise UsageError(f"{output} is a file; choose another --output") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is damaged; move it away, it is written again from the study's file") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is damaged; move it away, it is written again from the study's file")
    return content
