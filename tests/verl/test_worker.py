"""verl's own training worker around the engine: mini-batches, epochs, metrics; one process, and two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import simko.store
import torch
import verl_engines as v
from simko.trainers.verl.settings import SETTINGS, Settings
from verl.utils import tensordict_utils as tu

HERE = Path(__file__).parent
WORKER = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
TOKENS = sum(map(len, v.RESPONSES))


def test_two_epochs_of_two_mini_batches_and_a_second_rollout_batch(checkpoint, tmp_path, monkeypatch):
    settings = Settings(run=str(tmp_path / "run"), method="simko")
    for name, value in {**WORKER, "RANK": "0", "WORLD_SIZE": "1", SETTINGS: settings.environment()[SETTINGS]}.items():
        monkeypatch.setenv(name, value)
    worker = v.worker(checkpoint, steps=2)
    for epochs in (2, 1):
        output = worker.train_mini_batch(v.rollout_batch([0, 1, 2, 3], mini_batch=2, epochs=epochs))
        metrics = tu.get(output, "metrics")
        assert len(metrics["lambda_1"]) == 2 * epochs
        assert all(-3 < value < 0 for value in metrics["lambda_1"])
    assert worker.engine.step == 7 and worker.engine.generation == 2
    store = simko.store.open(tmp_path / "run")
    sql = "SELECT generation, count(*), count(DISTINCT (prompt, completion)) FROM responses GROUP BY 1 ORDER BY 1"
    assert store.sql(sql).fetchall() == [(0, 4, 4), (1, 4, 4)]
    sql = "SELECT min(step), max(step), count(DISTINCT step), count(*) FROM tokens"
    assert store.sql(sql).fetchall() == [(1, 6, 6, 3 * TOKENS)]
    scored = "SELECT count(*) FROM (SELECT response_id, position FROM tokens GROUP BY ALL HAVING count(*) = 2)"
    assert store.sql(scored).fetchall() == [(TOKENS,)]  # those of the first rollout batch, in its two epochs
    assert store.sql("SELECT status FROM runs").fetchall() == [("finished",)]


def test_two_processes_train_and_log_as_one(checkpoint, tmp_path):
    """Half of the responses each, by a method scaled by the shares of all: the same weights and figures, and
    every token once."""
    for size in (1, 2):
        settings = Settings(run=str(tmp_path / f"run-{size}"), method="w_reinforce")
        environment = os.environ | WORKER | settings.environment() | {"PYTHONPATH": str(HERE.parent)}
        command = [sys.executable, "-W", "ignore", str(HERE / "one_of_two.py"), str(checkpoint), str(tmp_path)]
        processes = [
            subprocess.Popen(
                command,
                env=environment | {"RANK": str(rank), "WORLD_SIZE": str(size)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(size)
        ]
        try:
            output = [process.communicate(timeout=300)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert [process.returncode for process in processes] == [0] * size, output[0][-3000:]
    one, two = (torch.load(tmp_path / f"weights-{size}.pt", weights_only=True) for size in (1, 2))
    assert all((one[name] - two[name]).abs().max() < 1e-6 for name in one)
    one, two = (json.loads((tmp_path / f"metrics-{size}.json").read_text()) for size in (1, 2))
    assert one == pytest.approx(two, rel=1e-5) and {"lambda_1", "lambda_2", "lambda_3"} <= set(one)
    columns = "completion, position, token_id, rank, round(logprob, 4), round(weight, 4)"
    rows = []
    for size in (1, 2):
        store = simko.store.open(tmp_path / f"run-{size}")
        sql = f"SELECT {columns} FROM tokens JOIN responses USING (run, attempt, response_id) ORDER BY ALL"
        rows.append(store.sql(sql).fetchall())
        assert store.sql("SELECT count(DISTINCT worker) FROM responses").fetchall() == [(size,)]
        assert store.sql("SELECT DISTINCT complete FROM lambda_k").fetchall() == [(True,)]
    assert len(rows[0]) == TOKENS
    assert [row[:4] for row in rows[0]] == [row[:4] for row in rows[1]]
    for one, two in zip(*rows, strict=True):
        assert one[4:] == pytest.approx(two[4:], abs=2e-4)
