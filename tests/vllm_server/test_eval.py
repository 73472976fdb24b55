"""`simko eval` through vLLM and through transformers: the same pass@k; interrupted, and gone on with."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from simko.cli.simko import main
from simko.store import Catalog
from simko.store.analysis.benchmark_results import benchmark_results
from vllm_processes import ARGUMENTS, MARK, started

SMALL = ["--benchmarks", "countdown", "--limit", "40", "--samples", "32", "--per_unit", "64"]
VLLM = ["--engine", "vllm", "--dtype", "float32", f"--vllm_args={' '.join(ARGUMENTS[2:])}"]


def results(run):
    """Source → result, and prompt → (n, c) of what was sampled."""
    catalog = Catalog(run)
    assert catalog.problems == []
    counts = catalog.connection.execute("SELECT prompt_id, n, c FROM evals WHERE source = 'sampled'").fetchall()
    (identity,) = catalog.connection.execute("SELECT evaluation FROM evaluations WHERE complete").fetchone()
    found = {result.source: result for result in benchmark_results(catalog.connection, identity)}
    return found, {prompt: (n, c) for prompt, n, c in counts}


def curve(result):
    return {point.k: point for point in result.curve}


def test_both_engines_find_the_same_pass_at_k_also_after_an_interrupt(policy, tmp_path, monkeypatch, mark):
    monkeypatch.chdir(tmp_path)
    assert main(["eval", str(policy), *SMALL, "--into", "transformers"]) == 0

    command = ["eval", str(policy), *SMALL, *VLLM, "--into", "vllm"]
    code = "import sys; from simko.cli.simko import main; sys.exit(main(sys.argv[1:]))"
    run = tmp_path / "runs" / "vllm"
    # One process, one group of its own: as a shell that heeds Ctrl-C starts it
    child = subprocess.Popen([sys.executable, "-c", code, *command], start_new_session=True, stderr=subprocess.PIPE)
    _wait_for(lambda: _units(run) >= 1 or child.poll() is not None)
    assert child.poll() is None, child.stderr.read()
    os.killpg(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=120)
    assert started(mark) == []
    assert child.returncode == 130, said
    assert b"what is done is kept" in said
    before = _drawn(run)
    assert 0 < len(before) < 40 * 32

    first_seed = _seed(run)
    assert main(command) == 0
    assert started(mark) == []
    assert _seed(run) != first_seed
    assert before.items() <= _drawn(run).items()

    exact, ours = results(tmp_path / "runs" / "transformers")
    other, theirs = results(run)
    assert set(exact) == {"exact", "sampled"} and set(other) == {"sampled"}
    assert set(ours) == set(theirs) and all(n == 32 for n, _ in theirs.values())
    for k in (1, 8):
        a, b = curve(exact["sampled"])[k], curve(other["sampled"])[k]
        assert b.low <= a.mean <= b.high and a.low <= b.mean <= a.high
    # The same problems: what differs is the draws alone, which is far less than the intervals over problems allow
    true = curve(exact["exact"])[1].mean
    for counts in (ours, theirs):
        rates = [c / n for n, c in counts.values()]
        spread = math.sqrt(sum(rate * (1 - rate) / 32 for rate in rates)) / len(rates)
        assert abs(sum(rates) / len(rates) - true) <= 4 * spread


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_whoever_started_it(number, policy, tmp_path, mark):
    code = (
        "import sys, time; from simko.trainers.evaluation.engines.vllm import VLLMEngine; from pathlib import Path;"
        "engine = VLLMEngine(sys.argv[1], tokenizer=None, arguments=sys.argv[3:], log_folder=Path(sys.argv[2]),"
        "devices=[]); print('up', flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(policy), str(tmp_path), *ARGUMENTS], stdout=subprocess.PIPE
    )
    if number == signal.SIGKILL:  # the other one while the server starts, when there is more to be missed
        assert parent.stdout.readline() == b"up\n"
    else:
        _wait_for(lambda: len(started(mark)) >= 4)
    parent.send_signal(number)
    parent.wait()
    _wait_for(lambda: not started(mark), seconds=30)
    assert MARK in os.environ


def _wait_for(condition, seconds=400):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _units(run):
    return len(list(Path(run).rglob("*.parquet")))


def _drawn(run):
    rows = Catalog(run).connection.execute("SELECT prompt_id, sample, completion FROM samples").fetchall()
    return {(prompt, sample): text for prompt, sample, text in rows}


def _seed(run):
    return re.search(r"'seed': (\d+)", (run / "vllm-0.log").read_text())[1]
