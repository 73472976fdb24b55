"""Runs that are killed and resumed, by one process and by several: no step lost, none twice, nothing changed."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import forked
import numpy as np
import pandas as pd
import pytest
import simko.store
from commands import SHORT, command
from simko.store.maintenance.doctor import check
from simko.trainers.engine.checkpoints import newest_whole

DYING = Path(__file__).parent / "killed_training.py"
DOCS = Path(__file__).parents[2] / "docs"
KEYS = {
    "tokens": "step, worker, response_id, position",
    "responses": "step, worker, response_id",
    "rollups": "step, worker, verdict",
    "evals": "step, split, source, prompt_id",
}


def query(run, sql):
    with simko.store.open(run) as connection:
        return connection.execute(sql).fetchall()


def start(*arguments, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def launched(processes):
    """The arguments of a launcher of several processes on CPUs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", port]


def assert_same_rows(run, reference):
    """Every row of every table, attempts aside: equal, floats to 1e-6."""
    with simko.store.open(run) as ours, simko.store.open(reference) as theirs:
        for table, key in KEYS.items():
            rows = f"SELECT * EXCLUDE (run, attempt) FROM {table} ORDER BY {key}"
            pd.testing.assert_frame_equal(
                ours.sql(rows).df(), theirs.sql(rows).df(), check_exact=False, rtol=0, atol=1e-6
            )


def test_a_killed_run_resumed_is_the_run_that_was_not_killed(trained, tmp_path):
    reference, run = trained[0] / "runs" / "first", tmp_path / "runs" / "cut"
    killed = forked.run(DYING, 7, 0, "--probe", "--run_name", "cut", *SHORT, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert query(run, "SELECT status, last_step, incomplete_steps FROM runs") == [("stopped", 6, 0)]
    # A second kill, in the middle of saving
    shutil.copytree(run / "checkpoint-4", run / "checkpoint-6", ignore=shutil.ignore_patterns("trainer_state.json"))

    done = command("train", "--resume", "runs/cut", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "checkpoint-6 is not whole (no trainer_state.json) and passed over; continuing from step 4" in done.stderr
    assert sorted(path.name for path in run.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-8"]
    assert [path.name for path in (run / "rewound").iterdir()] == ["checkpoint-6"]
    assert_same_rows(run, reference)
    assert query(run, "SELECT step, attempt FROM steps ORDER BY step") == [
        (step, 1 + (step > 4)) for step in range(1, 9)
    ]
    assert query(run, "SELECT count(DISTINCT attempt) FROM all_tokens WHERE step IN (5, 6)") == [(2,)]
    again = command("train", "--resume", "runs/cut", cwd=tmp_path)
    assert again.returncode == 0 and "all 8 steps are done" in again.stderr + again.stdout, again.stderr[-3000:]
    assert query(run, "SELECT status, last_step, attempts FROM runs") == [("finished", 8, 3)]
    assert_same_rows(run, reference)
    # The losses too: what training said at step 8 is what it said then
    lines = [re.search(r"(step 8/8 .*?) +[\d.]+ steps/s", output)[1] for output in (done.stdout, trained[1].stdout)]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_a_prolonged_run_goes_back_to_a_checkpoint_and_trains_on_to_its_new_end(trained, tmp_path):
    run = tmp_path / "runs" / "first"
    shutil.copytree(trained[0] / "runs" / "first", run)
    longer = command("train", "--resume", "runs/first", "--max_steps", "12", cwd=tmp_path)
    assert longer.returncode == 0, longer.stderr[-3000:]
    refused = command("train", "--resume", "runs/first/checkpoint-8", "--max_steps", "8", cwd=tmp_path)
    assert refused.returncode == 2 and "nothing is left to train from step 8" in refused.stderr
    assert query(run, "SELECT max(step), max(attempt) FROM steps") == [(12, 2)]

    again = command("train", "--resume", "runs/first/checkpoint-8", cwd=tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    attempts = query(run, "SELECT step, attempt FROM steps ORDER BY step")
    assert attempts == [(step, 1 if step <= 8 else 3) for step in range(1, 13)]
    assert (run / "checkpoint-12").is_dir() and (run / "rewound" / "checkpoint-12").is_dir()


@pytest.mark.slow
def test_another_temperature_on_resuming_is_refused_or_shown(trained, tmp_path):
    run = tmp_path / "runs" / "first"
    shutil.copytree(trained[0] / "runs" / "first", run)
    other = ["--resume", "runs/first", "--max_steps", "12", "--temperature", "0.5"]
    refused = command("train", *other, cwd=tmp_path)
    assert refused.returncode == 2 and "temperature 1.0 → 0.5" in refused.stderr.splitlines()[-1]
    assert query(run, "SELECT attempts, status FROM runs") == [(1, "finished")]
    allowed = command("train", *other, "--probe_change", "true", cwd=tmp_path)
    assert allowed.returncode == 0, allowed.stderr[-3000:]
    assert query(run, "SELECT step, change FROM breaks") == [(8, "temperature 1.0 → 0.5")]
    shown = command("simko", "show", "runs/first", cwd=tmp_path)
    assert "from step 9 on figures mean something else: temperature 1.0 → 0.5" in shown.stdout


@pytest.mark.slow
def test_a_rank_that_is_killed_is_seen_and_the_run_goes_on_with_another_number(tmp_path):
    config = re.search(r"```yaml\n(.*?)```", (DOCS / "processes.md").read_text(), re.S)[1]
    (tmp_path / "cpu.yaml").write_text(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "accelerate.commands.launch", "--config_file", "cpu.yaml", "--main_process_port", port]
    options = [*SHORT, "--per_device_train_batch_size", "16", "--pass_at_k_steps", "0"]
    killed = start(*launcher, DYING, 7, 1, "--probe", "--run_name", "two", *options, cwd=tmp_path)
    run = tmp_path / "runs" / "two"
    assert killed.returncode != 0
    assert re.search("another process of the run is gone|interrupted at step", killed.stderr), killed.stderr[-3000:]
    workers = query(
        run, "SELECT worker, count(DISTINCT response_id), min(step), max(step) FROM tokens GROUP BY ALL ORDER BY 1"
    )
    assert workers[1] == (1, 96, 1, 6)
    assert workers[0][0] == 0 and workers[0][3] >= 4
    assert query(run, "SELECT count(*) - count(DISTINCT response_id) FROM responses") == [(0,)]
    assert query(run, "SELECT DISTINCT complete, n_responses FROM lambda_k WHERE verdict = 'all' AND step <= 4") == [
        (True, 32)
    ]
    assert query(run, "SELECT status, world_size FROM attempts") == [("stopped", 2)]

    done = command("train", "--resume", "runs/two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert query(run, "SELECT step, attempt, reported, complete FROM steps ORDER BY step") == [
        (step, 1, 2, True) if step <= 4 else (step, 2, 1, True) for step in range(1, 9)
    ]


@pytest.mark.slow
def test_two_ranks_train_as_one_process_does_on_the_same_responses(tmp_path):
    """Greedy responses are the same wherever they are sampled; an entropy bonus trains on them all the same.

    In the first steps of this seed both ranks hold as many tokens, so that the bonus, a mean over a micro-batch, is the
    same too.
    """
    options = ["--probe", "--method", "entropy_loss", "--entropy_coef", "0.5", "--top_k", "1", "--max_steps", "3"]
    options += ["--steps_per_generation", "1", "--pass_at_k_steps", "0", "--learning_rate", "1e-3", "--seed", "7"]
    sizes = {"one": ([], "32"), "two": (launched(2), "16")}
    for name, (launcher, size) in sizes.items():
        named = ["--run_name", name, "--per_device_train_batch_size", size]
        done = start(*launcher, "-m", "simko.cli.train", *options, *named, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    rows = "SELECT * EXCLUDE (run, worker) FROM {} ORDER BY step, response_id"
    with simko.store.open(tmp_path / "runs" / "one") as one, simko.store.open(tmp_path / "runs" / "two") as two:
        for table in ("responses", "tokens"):
            query = rows.format(table) + ", position" * (table == "tokens")
            pd.testing.assert_frame_equal(
                one.sql(query).df(), two.sql(query).df(), check_exact=False, rtol=0, atol=1e-4
            )
        means = "SELECT step, verdict, k, lambda_k, n_tokens FROM lambda_k ORDER BY ALL"
        pd.testing.assert_frame_equal(one.sql(means).df(), two.sql(means).df(), check_exact=False, rtol=0, atol=1e-4)
        assert one.sql("SELECT stddev(lambda_k) > 0.01 FROM lambda_k WHERE k = 1 AND verdict = 'all'").fetchall() == [
            (True,)
        ]  # it was trained


@pytest.mark.slow
def test_four_ranks_killed_twice_then_rewound_log_every_step_once(tmp_path):
    options = ["--probe", "--run_name", "four", *SHORT, "--per_device_train_batch_size", "8", "--max_steps", "16"]
    options += ["--save_steps", "3", "--save_total_limit", "9", "--method", "dapo", "--num_iterations", "1"]
    run, reference = tmp_path / "runs" / "four", tmp_path / "runs" / "whole"
    whole = start(*launched(4), "-m", "simko.cli.train", *options, "--run_name", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr[-3000:]
    assert start(*launched(4), DYING, 11, 2, *options, cwd=tmp_path).returncode != 0
    assert start(*launched(4), DYING, 15, 3, "--resume", "runs/four", cwd=tmp_path).returncode != 0
    for resumed in ("runs/four", "runs/four/checkpoint-4"):
        done = start(*launched(4), "-m", "simko.cli.train", "--resume", resumed, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert_same_rows(run, reference)
        assert query(run, "SELECT count(*), bool_and(complete), bool_and(reported = 4) FROM steps") == [
            (16, True, True)
        ]
    assert query(run, "SELECT max(attempt), count(DISTINCT attempt) FROM steps") == [(4, 2)]
    assert sorted(int(path.name[11:]) for path in run.glob("checkpoint-*")) == [4, 8, 12, 16]
    done = start(*launched(2), "-m", "simko.cli.train", "--resume", "runs/four", "--max_steps", "20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    last = query(run, "SELECT world_size, count(*), bool_and(complete) FROM steps WHERE step > 16 GROUP BY 1")
    assert last == [(2, 4, True)]
    assert np.isfinite(query(run, "SELECT avg(lambda_k) FROM lambda_k WHERE k = 1")[0][0])


@pytest.mark.slow
def test_a_run_killed_at_random_moments_until_it_is_done_is_the_run_that_was_not_killed(tmp_path):
    """Killed anywhere: while it starts, samples, trains, saves, logs, evaluates or rewinds."""
    options = ["--probe", "--max_steps", "40", "--save_steps", "4", "--pass_at_k_steps", "20"]
    reference = command("train", *options, "--run_name", "reference", cwd=tmp_path)
    assert reference.returncode == 0, reference.stderr[-3000:]
    run, chance, kills = tmp_path / "runs" / "killed", random.Random(0), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    while True:
        if run.exists() and newest_whole(run)[0] is None:
            shutil.rmtree(run)  # nothing to go on from, as the command says
        arguments = ["--resume", str(run)] if run.exists() else [*options, "--run_name", "killed"]
        training = subprocess.Popen(
            [sys.executable, "-m", "simko.cli.train", *arguments],
            cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        before = len(list((run / "manifest").glob("0*.jsonl")))
        try:
            while training.poll() is None and len(list((run / "manifest").glob("0*.jsonl"))) == before:
                time.sleep(0.01)  # loading: nothing of the run is open yet
            training.wait(timeout=chance.uniform(0, 1.5) if kills < 12 else 600)
            if kills >= 12:
                break
        except subprocess.TimeoutExpired:
            training.kill()
            training.communicate()
            kills += 1
            ((checkup,), _) = check(run, deep=True)
            known = ("named in no manifest", "torn and left out")
            assert not [line for line in checkup.findings if not any(words in line for words in known)]
    assert training.returncode == 0, training.communicate()[1][-3000:]
    print(f"{kills} kills, {query(run, 'SELECT attempts FROM runs')[0][0]} attempts")
    assert_same_rows(run, tmp_path / "runs" / "reference")
