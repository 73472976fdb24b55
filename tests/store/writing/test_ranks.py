"""Several processes writing one run: what is whole, what a dead one leaves, and attempts of different size."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simko.store
from batches import expected_lambda, random_batch
from simko.dashboard.mirror import Mirror
from simko.store import Recorder
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume
from simko.store.reading.incomplete_steps import incomplete_steps

TESTS = Path(__file__).parents[2]
RANK = """
import sys, time
from pathlib import Path
import numpy as np
from batches import random_batch
from simko.store import Recorder

run, rank, steps, ends = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "ends"
recorder = Recorder(run, k=4, attempt=1, rank=rank, world_size=3, flush_seconds=0)
rng = np.random.default_rng(rank)
for step in range(1, steps + 1):
    recorder.put(random_batch(step, rng, first=10 * rank)); recorder.end_step(step)
recorder.put(random_batch(steps + 1, rng, first=10 * rank))
recorder.flush()
print("ready", flush=True)
time.sleep(0 if ends else 600)
"""


def new_run(path):
    create_or_resume(path, {"probe": {"k": 4}}, resume=True)
    return path


def start_rank(run, rank, steps, *, ends):
    arguments = [str(run), str(rank), str(steps), "ends" if ends else "waits"]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    return subprocess.Popen(
        [sys.executable, "-c", RANK, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


def write_rank(run, steps, *, rank=0, world_size=1, attempt=1, responses=True):
    """Whole steps of one rank; every step is a rollout batch of two groups of three, the second one across ranks."""
    rng = np.random.default_rng(100 * attempt + rank)
    written = {}
    with Recorder(
        run, k=4, attempt=attempt, rank=rank, world_size=world_size, start_step=min(steps) - 1, flush_seconds=0
    ) as recorder:
        for step in steps:
            written[step] = random_batch(step, rng, first=6 * rank)
            if responses:
                recorder.put_responses(
                    {
                        "step": [step] * 6,
                        "generation": [step - 1] * 6,
                        "response_id": written[step].response_id,
                        "group_id": [r // 4 for r in range(6 * rank, 6 * rank + 6)],
                        "prompt_id": ["x"] * 6,
                        "verdict": ["right", "wrong", "wrong"] * 2,
                    }
                )
            recorder.put(written[step])
            recorder.end_step(step)
    return written


def query(run, sql):
    with simko.store.open(run) as connection:
        return connection.sql(sql).fetchall()


def test_a_rank_killed_mid_run_is_visible_and_thins_no_average(tmp_path):
    run = new_run(tmp_path / "run")
    ranks = [start_rank(run, 0, 9, ends=True), start_rank(run, 1, 5, ends=False), start_rank(run, 2, 7, ends=True)]
    assert [rank.stdout.readline() for rank in ranks] == ["ready\n"] * 3
    ranks[1].send_signal(signal.SIGKILL)
    for rank in ranks:
        rank.wait(60)
        rank.stdout.close()

    whole = [random_batch_of(rank, step) for step in range(1, 6) for rank in range(3)]
    means = [expected_lambda(whole[3 * i : 3 * i + 3], 1)["lambda_k"] for i in range(5)]
    assert query(run, "SELECT step, reported, missing FROM steps WHERE NOT complete ORDER BY step") == [
        (6, 2, [1]), (7, 2, [1]), (8, 1, [1, 2]), (9, 1, [1, 2])
    ]  # fmt: skip
    assert query(
        run, "SELECT avg(lambda_k), count(*), sum(n_responses) FROM lambda_k WHERE k = 1 AND verdict = 'all'"
    ) == [(pytest.approx(np.mean(means), rel=1e-6), 9, 90)]
    assert query(
        run, "SELECT count(*) FROM lambda_k WHERE NOT complete AND coalesce(lambda_k, n_tokens) IS NOT NULL"
    ) == [(0,)]
    assert query(run, "SELECT status, last_step, incomplete_steps FROM runs") == [("stopped", 9, 4)]
    with simko.store.open(run) as connection:
        assert incomplete_steps(connection) == [
            "run: steps 6 to 7: 2 of 3 ranks reported (not rank 1); left out of every average",
            "run: steps 8 to 9: 1 of 3 ranks reported (not ranks 1, 2); left out of every average",
        ]
    assert read_manifest(run).problems == []
    mirror = Mirror(run)
    mirror.refresh()
    assert len(mirror.frame("SELECT * FROM steps WHERE NOT complete")) == 4


def random_batch_of(rank, step):
    """What `RANK` wrote in a step."""
    rng = np.random.default_rng(rank)
    for earlier in range(1, step):
        random_batch(earlier, rng, first=10 * rank)
    return random_batch(step, rng, first=10 * rank)


def test_a_step_that_is_being_reported_is_no_loss_yet(tmp_path):
    run = new_run(tmp_path / "run")
    write_rank(run, [1], world_size=2)
    with Recorder(run, k=4, attempt=1, rank=1, world_size=2), simko.store.open(run) as connection:
        assert incomplete_steps(connection) == [
            "run: step 1: 1 of 2 ranks reported so far (not rank 1); left out of every average"
        ]


def test_rollouts_count_once_every_rank_has_written_its_own(tmp_path):
    run = new_run(tmp_path / "run")
    write_rank(run, [1, 2], world_size=2)
    write_rank(run, [1], rank=1, world_size=2)
    # Ranks 0 and 1 hold responses 0-5 and 6-11 in groups of four: the middle one lies on both.
    assert query(run, "SELECT step, n_problems, n_samples FROM pass_at_k WHERE k = 4") == [(1, 3, 12)]


def test_attempts_may_differ_in_size(tmp_path):
    run = new_run(tmp_path / "run")
    first = [write_rank(run, range(1, 7), rank=rank, world_size=2) for rank in range(2)]
    second = [write_rank(run, range(5, 9), attempt=2)]
    third = [write_rank(run, range(8, 10), rank=rank, world_size=4, attempt=3) for rank in range(4)]
    sources = dict.fromkeys(range(1, 5), first) | dict.fromkeys(range(5, 8), second) | {8: third, 9: third}
    rows = query(run, "SELECT step, lambda_k, n_responses, complete FROM lambda_k WHERE verdict = 'all' AND k = 2")
    expected = []
    for step, ranks in sources.items():
        row = expected_lambda([rank[step] for rank in ranks], 2)
        expected.append((step, pytest.approx(row["lambda_k"], rel=1e-6), row["n_responses"], True))
    assert sorted(rows) == expected
    assert query(run, "SELECT step, world_size FROM steps ORDER BY step")[3:8] == [
        (4, 2),
        (5, 1),
        (6, 1),
        (7, 1),
        (8, 4),
    ]
    assert query(run, "SELECT count(*), max(step) FROM all_rollups WHERE attempt = 2 AND step = 8")[0][0] > 0
    assert query(run, "SELECT step, count(*) FROM responses GROUP BY step ORDER BY step") == [
        (step, 6 * len(ranks)) for step, ranks in sources.items()
    ]
    assert query(run, "SELECT n_problems FROM pass_at_k WHERE k = 4 AND step = 9") == [(6,)]
