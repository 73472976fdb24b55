"""Two gloo processes: our engine equals stock TRL, and their logs merge into one run."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import forked
import pytest
import simko.store
from simko.trainers.evaluation.pass_at_k import evaluate
from simko.trainers.models.loading import load_model
from simko.trainers.tasks import task_for
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
    assert_both_have_the_whole_evaluation(tmp_path)


def assert_both_have_the_whole_evaluation(folder):
    """Exact pass@k as one process finds it, in the same order; sampled counts of every problem."""
    first, second = (json.loads((folder / f"evaluation-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    model, tokenizer = load_model()
    alone = evaluate(model, tokenizer, task_for("countdown"), limit=7).columns
    assert first["prompt_id"] == alone["prompt_id"] * 2
    assert first["source"] == ["exact"] * 7 + ["sampled"] * 7
    assert first["success"][:7] == pytest.approx(alone["success"], rel=1e-5)
    assert first["n"] == [None] * 7 + [4] * 7
