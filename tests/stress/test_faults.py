"""A full disk, a slow one, and clocks that go backwards: what was logged stays, what was not is counted."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import simko.store
from batches import random_batch
from simko.store import Recorder
from simko.store.errors import RunUnwritable
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume, next_attempt
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.doctor import check
from simko.store.maintenance.garbage import collect

WRITER = """
import sys, warnings
from pathlib import Path
import numpy as np
from batches import random_batch
from simko.store import Recorder
from simko.store.layout.run import next_attempt
run, start, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    with Recorder(run, k=4, attempt=next_attempt(run), start_step=start, flush_seconds=0) as recorder:
        for step in range(start + 1, start + steps + 1):
            recorder.put(random_batch(step, rng))
            recorder.end_step(step)
print(len(told), recorder.cost.dropped, type(recorder.error).__name__)
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def write(run, start, steps):
    path = f"{Path(__file__).parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", WRITER, str(run), str(start), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-2000:]
    warned, dropped, error = done.stdout.split()
    return int(warned), int(dropped), error


def logged(run):
    with simko.store.open(run) as connection:
        steps = connection.execute("SELECT step, sum(n_tokens) FROM rollups GROUP BY step ORDER BY step").fetchall()
        assert steps == connection.execute("SELECT step, count(*) FROM tokens GROUP BY step ORDER BY step").fetchall()
        return [step for step, _ in steps]


def test_a_disk_that_fills_up(small_disk):
    run = small_disk / "runs" / "run"
    create_or_resume(run, {"run": "run", "probe": {"k": 4}}, resume=False)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    warned, dropped, error = write(run, 0, 400)
    assert (warned, error) == (1, "OSError")
    steps = logged(run)
    assert steps == list(range(1, len(steps) + 1)) and len(steps) > 5
    assert len(steps) + dropped == 400
    with pytest.raises(RunUnwritable, match="No space left"):
        compact(run)
    assert logged(run) == steps
    assert read_manifest(run).problems == [] and not list(run.rglob("*.tmp"))
    ((checkup,), _) = check(run, deep=True)
    assert not [line for line in checkup.findings if "damaged" in line or "torn" in line]

    ballast.unlink()
    warned, dropped, error = write(run, len(steps), 6)
    assert (warned, dropped, error) == (0, 0, "NoneType")
    assert logged(run) == list(range(1, len(steps) + 7))
    assert compact(run).replaced > 60
    assert logged(run) == list(range(1, len(steps) + 7))


def test_a_slow_disk_is_waited_for_and_said(tmp_path, monkeypatch):
    run = tmp_path / "run"
    create_or_resume(run, {"probe": {"k": 4}}, resume=False)
    fast = simko.store.writing.part_files.write_part

    def slow(*arguments):
        time.sleep(0.02)
        return fast(*arguments)

    monkeypatch.setattr("simko.store.writing.part_files.write_part", slow)
    rng = np.random.default_rng(0)
    with Recorder(run, k=4, attempt=1, queue_depth=2, flush_seconds=0) as recorder:
        for step in range(1, 13):
            recorder.put(random_batch(step, rng))
            recorder.end_step(step)
    assert logged(run) == list(range(1, 13))
    with simko.store.open(run) as connection:
        waited, dropped = connection.execute("SELECT sum(queue_wait_ms), sum(n_dropped) FROM costs").fetchone()
        assert waited > 100 and dropped == 0
        assert connection.execute("SELECT sum(write_ms) > 200 FROM costs").fetchone() == (True,)


def test_clocks_that_go_backwards_change_nothing(tmp_path, monkeypatch):
    run = tmp_path / "run"
    minutes = itertools.count(59, -1)

    def earlier_every_time():
        return f"2030-01-01T00:{next(minutes):02d}:00+00:00"

    for module in ("layout.run", "writing.recorder", "writing.manifest_writer", "maintenance.compaction"):
        monkeypatch.setattr(f"simko.store.{module}.now", earlier_every_time)
    create_or_resume(run, {"probe": {"k": 4}}, resume=False)
    rng = np.random.default_rng(0)
    for attempt, start in ((1, 0), (2, 3), (3, 4)):
        assert next_attempt(run) == attempt
        with Recorder(run, k=4, attempt=attempt, start_step=start, flush_seconds=0) as recorder:
            for step in range(start + 1, start + 5):
                recorder.put(random_batch(step, rng))
                recorder.end_step(step)
        # The files too are older than those before them
        for part in read_manifest(run).parts:
            if part.attempt == attempt:
                os.utime(part.path, (10**9 - attempt, 10**9 - attempt))
    newest = "SELECT step, max(attempt), count(DISTINCT attempt) FROM tokens GROUP BY step ORDER BY step"
    expected = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1), (5, 3, 1), (6, 3, 1), (7, 3, 1), (8, 3, 1)]
    for _ in range(2):
        with simko.store.open(run) as connection:
            assert connection.execute(newest).fetchall() == expected
            assert connection.execute("SELECT status, attempts FROM runs").fetchall() == [("finished", 3)]
        compact(run)
    assert collect(run) == []  # merged in a future that has not come: nothing is a minute old
