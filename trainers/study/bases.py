"""Base policies other than the shipped one: which a study needs, where they are, and the job that builds one.

A base policy is built beside its place and renamed into it, so that a folder under its name is always whole.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...store.errors import UsageError
from ..tasks import BUILT_IN
from .specification import StudySpecification

_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def base_folder(output: Path, task: str, seed: int) -> Path:
    """Where the study's base policy of that seed is."""
    return output / "bases" / f"{task}-{seed}"


def check_bases(study: StudySpecification) -> None:
    """Refuse base policies that cannot be built.

    Raises:
        UsageError: naming the task.
    """
    if any(study.base_seeds) and study.task not in BUILT_IN:
        raise UsageError(
            f"{study.source}: base_seeds: base policies of task {study.task} cannot be built, only those of "
            f"{', '.join(BUILT_IN)}; leave base_seeds out"
        )


def is_complete(folder: Path) -> bool:
    """Whether a base policy is there, whole."""
    return all((folder / name).is_file() for name in _FILES)


def build_base(arguments: list[str]) -> int:
    """Build a base policy and put it in its place; the job of a worker.

    Args:
        arguments: its folder, its task, its seed.
    """
    from ..models.base_policy.build import main

    folder, task, seed = Path(arguments[0]), arguments[1], arguments[2]
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    main(["--output", str(unfinished), "--task", task, "--seed", seed])
    os.replace(unfinished, folder)
    return 0
