"""`simko study` as a user meets it: a study with a failing run, called again, killed, interrupted and continued."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import simko.store
import simko.trainers.models.base_policy
from commands import command
from simko.cli.simko import main
from studies import HEAD

HELD_UP = """\
base_seeds: [0, 1]
runs:
  - method: grpo
    seeds: [1]
  - method: grpo
    label: Broken
    options: {model: missing/folder}
    seeds: [1]
  - method: simko
    label: SimKO
"""
NAMES = ["grpo-seed1", "simko-seed1", "simko-seed2"]


def query(folder, sql):
    with simko.store.open(folder) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the study's file and its second base policy, as if built before."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "mine.yaml").write_text(HEAD + HELD_UP)
    shipped = Path(next(iter(simko.trainers.models.base_policy.__path__))) / "countdown"
    shutil.copytree(shipped, folder / "out" / "bases" / "countdown-1")
    return folder


def call(folder, *arguments, output="out"):
    before = Path.cwd()
    os.chdir(folder)  # paths in a study's messages are as the person gave them
    try:
        return main(["study", "mine.yaml", "--output", output, *arguments])
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def done(folder):
    """The study, called once: (folder, exit code)."""
    return folder, call(folder, "--workers", "2")


def test_a_dry_run_starts_nothing(folder, tmp_path, capsys):
    assert call(folder, "--dry-run", output=str(tmp_path / "out")) == 0
    output = capsys.readouterr().out
    assert "4 runs: 0 done, 4 to do; 1 base policies to build" in output
    for cell in (*NAMES, "compare", "countdown-1", "missing/folder", "max_steps=4"):
        assert cell in output
    assert not list(tmp_path.iterdir())


def test_a_failing_run_stops_no_other_and_is_told(done, capsys):
    folder, code = done
    assert code == 1
    rows = query(folder / "out", "SELECT run, status, method, last_step FROM runs ORDER BY run")
    assert [row[0] for row in rows] == NAMES
    assert {row[1:] for row in rows} == {("finished", "grpo", 4), ("finished", "simko", 4)}
    assert call(folder, "--workers", "2") == 1
    output = capsys.readouterr().err.splitlines()
    assert output[0].startswith("simko study: broken-seed1: simko-train: no folder missing/folder")
    assert output[0].endswith("(log: out/logs/broken-seed1.log)")
    assert len(output) == 2 and output[1].startswith("simko study: missing: 1;")


def test_the_plan_is_recorded_missing_runs_too(done):
    folder, _ = done
    record = json.loads((folder / "out" / "study.json").read_text())
    assert (record["study"], record["task"], record["selected"]) == ("tiny", "countdown", {})
    assert record["specification"]["base_seeds"] == [0, 1]
    assert [run["run"] for run in record["runs"]] == [NAMES[0], "broken-seed1", *NAMES[1:]]
    last = record["runs"][-1]
    assert (last["label"], last["method"], last["role"], last["seed"]) == ("SimKO", "simko", "compare", 2)
    assert (last["base"], last["learning_rate_scale"]) == ("countdown-1", 1.0)
    assert last["options"] == {"max_steps": 4, "pass_at_k_steps": 4, "per_device_train_batch_size": 32}
    timings = [json.loads(line) for line in (folder / "out" / "timings.jsonl").read_text().splitlines()]
    assert {line["run"] for line in timings} == {*NAMES, "broken-seed1"}
    assert all(line["cpu_seconds"] > 0 for line in timings)


def test_called_again_it_leaves_finished_runs_alone(done, capsys):
    folder, _ = done
    files = {path: path.stat().st_mtime_ns for name in NAMES for path in (folder / "out" / name).rglob("*")}
    assert call(folder, "--dry-run") == 0
    assert "4 runs: 3 done, 1 to do; 0 base policies to build" in capsys.readouterr().out
    assert call(folder) == 1
    assert "[1/1] failed broken-seed1" in capsys.readouterr().out
    assert files == {path: path.stat().st_mtime_ns for path in files}
    assert query(folder / "out", "SELECT DISTINCT attempts FROM runs") == [(1,)]


def test_finished_runs_with_other_options_are_refused(done, capsys):
    folder, _ = done
    assert call(folder, "--max_steps", "8") == 2
    output = capsys.readouterr().err
    assert "out/grpo-seed1 was run with max_steps 4, the study wants 8; choose another --output" in output
    assert output.count("\n") == 1


def test_a_studys_run_is_the_same_run_as_by_hand(done, tmp_path):
    folder, _ = done
    options = ["--max_steps", "4", "--pass_at_k_steps", "4", "--per_device_train_batch_size", "32"]
    again = command("train", "--probe", "--method", "simko", "--seed", "1", "--run_name", "r", *options, cwd=tmp_path)
    assert again.returncode == 0, again.stderr[-2000:]
    for sql in (
        "SELECT step, split, source, prompt_id, success FROM evals ORDER BY ALL",
        "SELECT step, position, token_id, logprob, entropy FROM tokens ORDER BY ALL",
    ):
        assert query(folder / "out" / "simko-seed1", sql) == query(tmp_path / "runs" / "r", sql)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paper-labtop"], "did you mean paper-laptop?"),
        ([], "name a study, or see `simko study --list`"),
        (["paper-laptop", "--workers", "0"], "--workers 0 must be at least 1"),
        (["paper-laptop", "--seeds", "9"], "--seeds 9 is none of the study's seeds"),
        (["paper-laptop", "--output", "/proc/nowhere"], "cannot write to /proc/nowhere"),
        (["paper-laptop", "--sedes", "1"], "unknown option --sedes; did you mean --seeds?"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert main(["study", *arguments]) == 2
    output = capsys.readouterr().err
    assert message in output and output.startswith("simko study: ") and output.count("\n") == 1


def test_a_folder_of_something_else_is_refused(done, capsys):
    folder, _ = done
    assert call(folder, output="out/grpo-seed1") == 2
    assert "holds a run, not a study" in capsys.readouterr().err
    assert main(["study", "ablations", "--output", str(folder / "out")]) == 2
    assert "holds the study tiny, not ablations" in capsys.readouterr().err


def test_the_shipped_studies_are_listed(capsys):
    assert main(["study", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "ablations",
        "hard",
        "paper-laptop",
        "side-by-side",
        "smollm2",
        "tree",
    ]


def test_runs_wait_for_a_choice_that_cannot_be_made_and_others_do_not(tmp_path, capsys):
    entry = "runs:\n  - {method: simko, options: {model: missing/folder}, select: {simko_alpha: [0.1, 0.2]}}\n"
    (tmp_path / "mine.yaml").write_text(HEAD + entry + "  - {method: grpo, seeds: [1]}\nselect: {seeds: [9]}\n")
    assert call(tmp_path) == 1
    output = capsys.readouterr().err
    assert "simko-simko_alpha0.1-seed9: simko-train: no folder missing/folder" in output
    assert "simko-seed1: not started: simko_alpha cannot be chosen before every selection run has finished\n" in output
    assert query(tmp_path / "out", "SELECT run, status FROM runs") == [("grpo-seed1", "finished")]
    record = json.loads((tmp_path / "out" / "study.json").read_text())
    assert "simko_alpha" not in record["runs"][0]["options"]


LONG = """\
study: tiny
description: long enough to be stopped
task: countdown
seeds: [1]
options: {per_device_train_batch_size: 32, pass_at_k_steps: 0}
runs:
  - method: grpo
    label: killed
    options: {max_steps: 4000}
  - method: grpo
    label: short
    options: {max_steps: 4}
  - method: grpo
    label: cut
    options: {max_steps: 40, save_steps: 4}
"""


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()[-2000:]
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_run_is_told_and_an_interrupted_study_goes_on(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(LONG)
    process = subprocess.Popen(
        [sys.executable, "-m", "simko.cli.simko", "study", "mine.yaml", "--output", "out", "--workers", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    out = tmp_path / "out"
    wait_for(lambda: list(out.glob("killed-seed1/manifest/*.jsonl")), process)
    manifest = next(out.glob("killed-seed1/manifest/*.jsonl"))
    wait_for(lambda: manifest.read_text().endswith("\n"), process)
    os.kill(json.loads(manifest.read_text().splitlines()[0])["pid"], signal.SIGKILL)
    wait_for(lambda: list(out.glob("cut-seed1/checkpoint-*/trainer_state.json")), process)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "[1/3] failed killed-seed1" in stdout and "killed by SIGKILL" in stdout
    assert "[2/3] finished short-seed1" in stdout
    assert "interrupted; the same command continues out" in stderr and "Traceback" not in stderr
    rows = dict(query(out, "SELECT run, status FROM runs"))
    assert (rows["short-seed1"], rows["cut-seed1"]) == ("finished", "interrupted")

    # The killed run has no checkpoint: it is put aside and begun again, here with a budget that ends.
    shutil.rmtree(out / "killed-seed1")
    (out / "killed-seed1").mkdir()
    (out / "killed-seed1" / "leftover").touch()
    (tmp_path / "mine.yaml").write_text(LONG.replace("4000", "4"))
    assert call(tmp_path) == 0
    assert (out / "discarded" / "killed-seed1-1" / "leftover").exists()
    rows = query(out, "SELECT run, status, attempts, last_step FROM runs ORDER BY run")
    assert rows == [
        ("cut-seed1", "finished", 2, 40),
        ("killed-seed1", "finished", 1, 4),
        ("short-seed1", "finished", 1, 4),
    ]
    steps = query(
        out / "cut-seed1",
        "SELECT count(DISTINCT step), count(*) = count(DISTINCT step) FROM lambda_k WHERE verdict = 'all' AND k = 1",
    )
    assert steps == [(40, True)]
