"""Damage of every kind to every file: readers name what they leave out, none is brought down, none goes on for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from effort import effort
from simko.store.demo.small_run import write_demonstration_run
from simko.store.maintenance.compaction import compact

SCRIPT = Path(__file__).with_name("mutations.py")


def mutate(folder, seed, cases):
    write_demonstration_run(folder, name="run", steps=4, responses=6)
    compact(folder / "run")
    command = [sys.executable, str(SCRIPT), str(folder), str(seed), str(cases)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert sum(counts.values()) == cases
    return counts


def test_damaged_files_are_named(tmp_path):
    counts = mutate(tmp_path, seed=0, cases=effort(120, 3))
    assert counts["named on opening"] > 10 and counts["named by a query"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_damaged_files_are_named(tmp_path, seed):
    print(mutate(tmp_path, seed, cases=300))
