"""Two gloo processes: our engine equals stock TRL, and their logs merge into one run."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import forked
import pytest
import simko.store
from tiny import assert_same_history

SCRIPT = Path(__file__).parent / "two_processes.py"


def launch(folder):
    """Two ranks, with the environment that `torch.distributed.run` gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    ranks = []
    for rank in range(2):
        settings = shared | {"RANK": rank, "LOCAL_RANK": rank, "ACCELERATE_USE_CPU": "true"}
        environment = os.environ | {name: str(value) for name, value in settings.items()}
        ranks.append(forked.start(SCRIPT, folder, cwd=folder, environment=environment))
    for rank in ranks:
        done = rank.finish()
        assert done.returncode == 0, done.stderr[-3000:]


def test_two_ranks_equal_stock_trl_and_log_one_run(tmp_path):
    launch(tmp_path)
    ours, stock = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("ours", "stock"))
    assert_same_history(ours, stock)
    with simko.store.open(tmp_path / "run") as connection:
        (responses, distinct, workers) = connection.execute(
            "SELECT count(*), count(DISTINCT response_id), count(DISTINCT worker) FROM responses"
        ).fetchall()[0]
        assert (responses, distinct, workers) == (64, 64, 2)
        steps = connection.execute(
            "SELECT step, sum(n_responses), bool_and(complete) FROM rollups GROUP BY step ORDER BY step"
        ).fetchall()
        assert steps == [(step, 16, True) for step in (1, 2, 3, 4)]
    with simko.store.open(tmp_path / "psr") as connection:
        weights = connection.execute(
            "SELECT t.worker, r.generation, min(t.weight / t.ratio), max(t.weight / t.ratio), min(s.scale) "
            "FROM tokens t JOIN responses r USING (run, attempt, response_id) JOIN (SELECT generation, sum(n_tokens) / "
            "sum(n_tokens) FILTER (verdict = 'right') AS scale FROM responses GROUP BY generation) s "
            "ON s.generation = r.generation WHERE t.weight <> 0 GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    assert {(worker, generation) for worker, generation, *_ in weights} == {(w, g) for w in (0, 1) for g in (0, 1)}
    for _, _, low, high, scale in weights:  # one mean over the right answers of both processes
        assert (low, high) == (pytest.approx(scale, rel=1e-4), pytest.approx(scale, rel=1e-4))
