"""A folder with a folder of runs in it, made once for all that only look."""

from __future__ import annotations

import pytest
from simko.store.demo.small_run import write_demonstration_run


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder to start commands in: `runs/grpo-short` and `runs/simko-short` lie there."""
    folder = tmp_path_factory.mktemp("home")
    for seed, method in enumerate(("grpo", "simko")):
        write_demonstration_run(
            folder / "runs", name=f"{method}-short", method=method, steps=12, responses=16, seed=seed
        )
    return folder
