"""Damage of every kind to every file: nothing false is read, and nothing that is missing goes unsaid."""

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
    """Counts of how the cases end, on a run as it was written, a compacted and a resumed one."""
    small = {"steps": 3, "responses": 8, "flush_seconds": 0.0}
    for name in ("plain", "merged", "resumed"):
        write_demonstration_run(folder, name=name, **small)
    compact(folder / "merged")
    write_demonstration_run(folder, name="resumed", **small | {"steps": 4}, resume=True, start_step=2)
    command = [sys.executable, str(SCRIPT), str(folder), str(seed), str(cases)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert sum(counts.values()) == cases
    assert "wrong" not in counts and "silent" not in counts, (counts, done.stderr[-3000:])
    return counts


def test_damage_is_named_and_nothing_false_is_read(tmp_path):
    counts = mutate(tmp_path, seed=0, cases=effort(60, 10))
    assert counts["named"] >= 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_much_damage_is_named_and_nothing_false_is_read(tmp_path, seed):
    print(mutate(tmp_path, seed, cases=150))
