"""`simko-train` as a user meets it: a run, its summary, an interruption, a resume, and mistakes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import simko.store
from commands import SHORT, command
from simko.cli.train import main


def query(folder, sql):
    with simko.store.open(folder) as connection:
        return connection.execute(sql).fetchall()


def test_a_run_ends_with_its_summary_folder_and_next_commands(trained):
    _, done = trained
    for figure in ("pass@1 ", "pass@8 ", "pass@64 ", "pass@256 ", "Λ(1)", "Λ(2)", "Λ(3)"):
        assert figure.strip() in done.stdout
    assert "run folder: runs/first" in done.stdout
    assert re.search(r"look at it: \S*simko dashboard$", done.stdout, re.M)
    assert re.search(r"compare: +\S*simko show first$", done.stdout, re.M)
    assert re.search(r"ask it: +\S*simko query \"SELECT .*\" --runs runs/first$", done.stdout, re.M)
    assert re.search(r"step 4/8 .* reward +\S+ .* steps/s, \d+s left", done.stdout)
    assert "Traceback" not in done.stderr


def test_the_command_it_prints_works(trained):
    folder, done = trained
    sql = re.search(r'simko query "([^"]+)" --runs (\S+)', done.stdout)
    again = command("simko", "query", sql[1], "--runs", sql[2], "--format", "csv", cwd=folder)
    assert again.returncode == 0
    assert again.stdout.splitlines()[0] == "step,k,lambda_k"
    assert len(again.stdout.splitlines()) == 10


def test_everything_that_was_scored_is_logged(trained):
    folder, _ = trained
    run = folder / "runs" / "first"
    assert query(run, "SELECT method, task, status, last_step, attempts, probe_k FROM runs") == [
        ("simko", "countdown", "finished", 8, 1, 5)
    ]
    assert query(run, "SELECT count(*), count(DISTINCT prompt_id), count(DISTINCT group_id) FROM responses") == [
        (256, 32, 32)
    ]
    assert query(run, "SELECT sum(n_responses), bool_and(complete) FROM rollups") == [(256, True)]
    tokens = query(run, "SELECT count(*), max(step), bool_and(logp_1 >= logprob), count(text) FROM tokens")[0]
    assert tokens[0] == tokens[3] == query(run, "SELECT sum(n_tokens) FROM rollups")[0][0]
    assert tokens[1:3] == (8, True)
    steps = query(run, "SELECT step, count(*) FROM evals WHERE source = 'exact' GROUP BY step ORDER BY step")
    assert steps == [(0, 276), (4, 276), (8, 276)]
    assert query(run, "SELECT count(*) FROM concentration WHERE source = 'exact' AND k = 256") == [(3,)]


def test_a_second_run_of_that_name_is_refused_and_the_first_untouched(trained):
    folder, _ = trained
    before = sorted(p.stat().st_mtime_ns for p in (folder / "runs" / "first").rglob("*.parquet"))
    done = command("train", "--probe", "--run_name", "first", *SHORT, cwd=folder)
    assert done.returncode == 2
    assert "already holds a run" in done.stderr.splitlines()[-1]
    assert before == sorted(p.stat().st_mtime_ns for p in (folder / "runs" / "first").rglob("*.parquet"))


def test_ctrl_c_leaves_a_readable_run_and_says_how_to_go_on(tmp_path):
    arguments = ["--probe", "--run_name", "cut", *SHORT, "--max_steps", "4000", "--pass_at_k_steps", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "simko.cli.train", *arguments],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A suite that a shell runs in the background inherits "ignore", and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    run = tmp_path / "runs" / "cut"
    deadline = time.monotonic() + 120
    while not list(run.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()[-2000:]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue from step" in stderr and "--resume runs/cut" in stderr
    assert "Traceback" not in stderr
    status, last = query(run, "SELECT status, last_step FROM runs")[0]
    assert status == "interrupted"
    assert last >= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--probe_k", "58"], "vocabulary of 57"),
        (["--probe", "--probe_every", "0"], "--probe_every must be at least 1, not 0"),
        (["--probe", "--probe_response_fraction", "2"], "above 0 and at most 1"),
        (["--probe", "--probe_precision", "int8"], "int8"),
        (["--simko_k", "0"], "--simko_k must be at least 1, not 0"),
        (["--simko_alpha", "2"], "--simko_alpha must be at least 0 and at most 1, not 2"),
        (["--output_dir", "/proc/nowhere/run"], "/proc/nowhere/run"),
        (["--model", "missing/folder"], "missing/folder"),
        (["--task", "gsm8k", "--dataset", "missing.jsonl"], "missing.jsonl"),
        (["--task", "countdown", "--dataset", "some.jsonl"], "makes its own problems"),
    ],
)
def test_mistakes_end_in_one_line_before_training(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--probe", *SHORT, "--task", "countdown", *arguments]) == 2
    output = capsys.readouterr().err
    assert message in output
    assert output.startswith("simko-train: ")
    assert output.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))
