"""The checkpoints of a run: the newest whole one, an older one asked for, and putting aside what a rewind leaves.

    <run>/checkpoint-<step>/            written by the trainer, `trainer_state.json` last
    <run>/rewound/checkpoint-<step>/    newer than the step that was continued from; of no further use to the run

A checkpoint that a kill has cut short is passed over by name. Checkpoints newer than the one continued from belong to
steps that will be made again: left in place, the next resume would take them for its own.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from pathlib import Path

from ...store.errors import UsageError

STATE_FILE = "trainer_state.json"
REWOUND = "rewound"
_NAME = re.compile(r"checkpoint-(\d+)")
_ZIPPED = (".pt", ".pth", ".bin")
"""What `torch.save` writes: zip archives, whose directory comes last."""


def split_resume(given: str) -> tuple[Path, Path | None]:
    """What `--resume` names: a run's folder, and the checkpoint in it to continue from (None: the newest)."""
    path = Path(given)
    if _NAME.fullmatch(path.name) and not (path / "run.json").exists():
        return path.parent, path
    return path, None


def step_of(checkpoint: Path) -> int:
    """The number of optimizer steps done at a checkpoint."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match is not None
    return int(match[1])


def checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoint folders of a run, whole or not, oldest first."""
    result = (path for path in run_dir.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir())
    return sorted(result, key=step_of)


def checkpoint_damage(checkpoint: Path) -> str | None:
    """What a kill or a full disk has cut short in a checkpoint, in a few words, or None."""
    try:
        state = json.loads((checkpoint / STATE_FILE).read_bytes())
        if not isinstance(state, dict) or "global_step" not in state:
            return f"{STATE_FILE} is damaged"
        for path in sorted(checkpoint.rglob("*")):
            torn = path.suffix in _ZIPPED and not zipfile.is_zipfile(path)
            if torn or (path.suffix == ".safetensors" and not _whole_safetensors(path)):
                return f"{path.relative_to(checkpoint)} is torn"
    except FileNotFoundError as error:
        return f"no {Path(str(error.filename)).name}"
    except ValueError:
        return f"{STATE_FILE} is damaged"
    except OSError as error:
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    return None


def _whole_safetensors(path: Path) -> bool:
    """Whether the file is as long as its header says."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length)) if length < path.stat().st_size else {}
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError):
            return False
    return bool(ends) and path.stat().st_size == 8 + length + max(ends)


def newest_whole(run_dir: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that can be continued from, and a line about each newer one that cannot."""
    lines: list[str] = []
    for checkpoint in reversed(checkpoints(run_dir)):
        torn = checkpoint_damage(checkpoint)
        if torn is None:
            return checkpoint, lines
        lines.append(f"{checkpoint} is not whole ({torn}) and passed over")
    return None, lines


def checkpoint_to_resume(given: str) -> tuple[Path, list[str]]:
    """The checkpoint that `--resume` means, and lines about what was passed over.

    Raises:
        UsageError: there is none, or the one named is not whole; the message says which there are.
    """
    run_dir, wanted = split_resume(given)
    if wanted is None:
        result, lines = newest_whole(run_dir)
        if result is not None:
            return result, lines
        why = f"; {'; '.join(lines)}" if lines else ""
        raise UsageError(
            f"--resume {given}: no whole checkpoint-<step> folder there{why}; start a new run, with --save_steps for "
            "checkpoints"
        )
    torn = checkpoint_damage(wanted) if wanted.is_dir() else "it is not there"
    if torn is None:
        return wanted, []
    whole = [path.name for path in checkpoints(run_dir) if checkpoint_damage(path) is None]
    there = f"there are {', '.join(whole)}" if whole else "there is no whole one"
    raise UsageError(f"--resume {given}: cannot continue from this checkpoint ({torn}); {there}")


def without_random_state(checkpoint: Path, processes: int) -> str | None:
    """What to say where a checkpoint lacks the state of random numbers of a process, else None.

    The trainer goes on without it and says nothing: saved by another number of processes, or by one that could not.
    """
    names = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    missing = [name for name in names if not (checkpoint / name).exists()]
    if not missing:
        return None
    return (
        f"{checkpoint} has no {', '.join(missing)}: from step {step_of(checkpoint)} on other responses are sampled "
        "than in the run that saved it"
    )


def has_every_step(checkpoint: Path, max_steps: int, epochs: float) -> bool:
    """Whether a whole checkpoint is the last of a run.

    Args:
        checkpoint: its folder.
        max_steps: optimizer steps asked for; 0 or less where `epochs` says how many.
        epochs: passes over the data asked for.
    """
    if max_steps <= 0:
        state = json.loads((checkpoint / STATE_FILE).read_bytes())
        if state.get("num_train_epochs") != math.ceil(epochs):
            return False
        max_steps = int(state.get("max_steps") or 0)
    return 0 < max_steps <= step_of(checkpoint)


def newer_than(checkpoint: Path) -> list[Path]:
    """The checkpoints of the same run that were saved at a later step."""
    return [path for path in checkpoints(checkpoint.parent) if step_of(path) > step_of(checkpoint)]


def set_aside_newer(checkpoint: Path) -> list[Path]:
    """Move the checkpoints newer than the one continued from into `rewound/`; nothing is deleted.

    Returns:
        Where they are now.
    """
    aside = checkpoint.parent / REWOUND
    moved = []
    for path in newer_than(checkpoint):
        aside.mkdir(exist_ok=True)
        n, target = 1, aside / path.name
        while target.exists():
            n += 1
            target = aside / f"{path.name}-{n}"
        moved.append(path.rename(target))
    return moved
