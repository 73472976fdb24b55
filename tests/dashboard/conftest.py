"""Runs to show: two of the demonstration, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from simko.store.demo.small_run import write_demonstration_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for method in ("grpo", "simko"):
        write_demonstration_run(folder, name=f"{method}-run", method=method, steps=12, responses=16)
    return folder
