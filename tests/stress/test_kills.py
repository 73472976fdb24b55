"""SIGKILL at random moments, of writers and compactors: the run is readable and nearly whole, whatever was killed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from effort import effort
from simko.store import Catalog
from simko.store.layout.run import create_or_resume
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.doctor import check
from simko.store.reading.views import VIEWS

QUEUE_DEPTH = 4  # as in child_processes.py


class ChildProcesses:
    """A process that forks and kills on demand."""

    def __init__(self, run):
        script = Path(__file__).with_name("child_processes.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def kill(self, command, *numbers):
        """Start a child, kill it after the last number of milliseconds; what it had put."""
        self.process.stdin.write(" ".join(map(str, (command, *numbers))) + "\n")
        self.process.stdin.flush()
        put, ended = self.process.stdout.readline().split(maxsplit=1)
        assert ended.strip() == "killed", ended
        return int(put)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def look(run):
    """The last step logged, after checking that everything is readable and every step there exactly once."""
    catalog = Catalog(run)
    # A file may have been finished without its line, a line begun: both are told, neither is part of the run.
    strange = [
        p for p in catalog.problems if not p.endswith(("named in no manifest and left out", "is torn and left out"))
    ]
    assert strange == []
    for view in VIEWS:
        catalog.connection.execute(f"SELECT count(*) FROM {view}").fetchall()
        if view not in ("runs", "run_costs"):
            catalog.connection.execute(f"SELECT * FROM {view} LIMIT 5").fetchall()
    steps = [row[0] for row in catalog.connection.execute("SELECT DISTINCT step FROM rollups ORDER BY 1").fetchall()]
    assert steps == list(range(1, len(steps) + 1))
    ((twice, tokens, counted),) = catalog.connection.execute(
        """
        SELECT (SELECT count(*) FROM (SELECT 1 FROM tokens GROUP BY response_id, step, position HAVING count(*) > 1)),
               (SELECT count(*) FROM tokens WHERE step <= (SELECT max(step) FROM rollups)),
               (SELECT sum(n_tokens) FROM rollups)
        """
    ).fetchall()
    assert twice == 0 and tokens == (counted or 0)
    return len(steps)


def fire(run, kills, seed):
    """Kill so many times; returns kills of writers, of compactors, and the most batches a writer lost."""
    create_or_resume(run, {"run": "run", "probe": {"k": 4}}, resume=False)
    chance = random.Random(seed)
    children, worst, writers = ChildProcesses(run), 0, 0
    try:
        logged = 0
        for _ in range(kills):
            if logged > 20 and chance.random() < 0.35:
                children.kill("compact", chance.uniform(1, 150))
                assert look(run) == logged
            else:
                put = children.kill("write", logged, chance.uniform(5, 250))
                now = look(run)
                lost = put - (now - logged)
                assert lost <= QUEUE_DEPTH + 1
                worst, logged, writers = max(worst, lost), now, writers + 1
    finally:
        children.close()
    before = look(run)
    compact(run)
    assert look(run) == before > kills
    ((checkup,), _) = check(run, deep=True)
    expected = ("named in no manifest", "torn and left out", "was killed after")
    assert all(any(words in finding for words in expected) for finding in checkup.findings)
    return writers, kills - writers, worst


def test_killed_at_random_moments(tmp_path):
    writers, compactors, _ = fire(tmp_path / "run", kills=effort(24, 4), seed=0)
    assert writers >= 3 and compactors >= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_killed_many_times(tmp_path, seed):
    print(fire(tmp_path / "run", kills=30, seed=seed))
