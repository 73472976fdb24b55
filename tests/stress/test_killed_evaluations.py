"""SIGKILL of `simko eval` at random moments: no response is drawn twice, none is missing, all are those of one go."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from simko.store import Catalog

BENCHMARKS = {"countdown": 1, "countdown,countdown4": 2}
PROBLEMS, SAMPLES = 12, 32
ARGUMENTS = ["countdown-base", "--limit", str(PROBLEMS), "--samples", str(SAMPLES), "--per_unit", str(SAMPLES)]


class Evaluations:
    """A process that forks evaluations and kills them on demand."""

    def __init__(self, benchmarks):
        script = Path(__file__).with_name("evaluation_children.py")
        command = [sys.executable, str(script), *ARGUMENTS, "--benchmarks", benchmarks]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, runs, milliseconds=-1):
        """Run, and kill after so many milliseconds; how it ended."""
        self.process.stdin.write(f"{milliseconds} {runs}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def rows(runs):
    catalog = Catalog(runs / "countdown-base")
    assert [line for line in catalog.problems if not line.endswith("named in no manifest and left out")] == []
    return catalog.connection.execute(
        "SELECT benchmark, prompt_id, sample, verdict, completion FROM samples ORDER BY ALL"
    ).fetchall()


def fire(folder, benchmarks, kills, seed):
    """Kill so many times; returns how often it hit."""
    chance, evaluations = random.Random(seed), Evaluations(benchmarks)
    runs, whole, counts, ended = folder / "killed", folder / "whole", [], []
    try:
        for _ in range(kills):
            ended.append(evaluations.run(runs, chance.uniform(60, 900)))
            if (runs / "countdown-base" / "run.json").exists():
                drawn = rows(runs)
                assert len({row[:3] for row in drawn}) == len(drawn)
                counts.append(len(drawn))
        assert evaluations.run(runs) == "0" == evaluations.run(whole)
    finally:
        evaluations.close()
    assert counts == sorted(counts)  # nothing that was there is ever gone
    drawn, each = rows(runs), PROBLEMS * SAMPLES
    assert len(drawn) == BENCHMARKS[benchmarks] * each
    assert drawn == rows(whole)  # a unit that is done again draws what it drew
    connection = Catalog(runs / "countdown-base").connection
    counted = connection.execute("SELECT sum(n + n_unjudged) FROM evals WHERE source = 'sampled' GROUP BY benchmark")
    assert counted.fetchall() == [(each,)] * BENCHMARKS[benchmarks]
    units = connection.execute("SELECT units_done, units, complete FROM evaluations").fetchall()
    assert units == [(PROBLEMS + 1, PROBLEMS + 1, True)] * BENCHMARKS[benchmarks]
    return ended.count("killed")


def test_killed_several_times(tmp_path):
    assert fire(tmp_path, "countdown", kills=2, seed=1) >= 1


@pytest.mark.slow
def test_killed_fifty_times(tmp_path):
    hits = sum(fire(tmp_path / str(seed), "countdown,countdown4", kills=10, seed=seed) for seed in range(5))
    assert hits >= 10
