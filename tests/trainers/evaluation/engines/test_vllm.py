"""Servers of our own: started, used and ended with us. In the place of vLLM stands a real server of a real model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from simko.trainers.errors import ServerUnusable
from simko.trainers.evaluation.engines.base import Draws
from simko.trainers.evaluation.engines.vllm import VLLMEngine
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.models.loading import load_tokenizer

TESTS = Path(__file__).parents[3]


def interpreter(folder, body):
    """A command that takes the arguments of `python -m vllm.entrypoints.openai.api_server`."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def serving(folder):
    server = f"PYTHONPATH={TESTS.parents[1]} exec {sys.executable} {TESTS / 'openai_server.py'}"
    return interpreter(
        folder, f'test "$1 $2" = "-m vllm.entrypoints.openai.api_server" || exit 3\nshift 2\n{server} "$@"'
    )


def gone(pid):
    """Whether a process is gone, within seconds."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_servers_are_started_used_and_ended(tmp_path):
    engine = VLLMEngine(
        COUNTDOWN_BASE,
        tokenizer=load_tokenizer(COUNTDOWN_BASE),
        python=serving(tmp_path),
        log_folder=tmp_path,
        devices=["0", "1"],
    )
    pids = [process.pid for process in engine._processes]
    result = engine.generate(["1 2 3 6", "2 5 7 14"], 20, Draws(max_tokens=8), seed=1)
    assert [len(row) for row in result] == [20, 20]
    engine.close()
    assert all(map(gone, pids))
    assert "serving" in (tmp_path / "vllm-1.log").read_text()


def test_a_server_that_does_not_start_is_told_with_its_last_line(tmp_path):
    python = interpreter(tmp_path, "echo 'ValueError: head_dim 16 is not supported' >&2; exit 1")
    with pytest.raises(ServerUnusable, match="head_dim 16 is not supported"):
        VLLMEngine("somewhere", tokenizer=None, python=python, log_folder=tmp_path, devices=[])
    with pytest.raises(ServerUnusable, match="No such file"):
        VLLMEngine("somewhere", tokenizer=None, python="/no/such/python", log_folder=tmp_path, devices=[])


def test_everything_a_command_starts_ends_with_whoever_started_it(tmp_path):
    """Also when that one is killed: nothing is left on a GPU."""
    module = Path(sys.modules[VLLMEngine.__module__].__file__).with_name("child_group.py")
    command = f"sleep 600 & echo $! > {tmp_path}/grandchild; echo $$ > {tmp_path}/child; wait"
    starter = (
        "import subprocess, sys, time;"
        f"subprocess.Popen([sys.executable, {str(module)!r}, 'sh', '-c', {command!r}],"
        "stdin=subprocess.PIPE, start_new_session=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter])
    files = [tmp_path / "child", tmp_path / "grandchild"]
    for _ in range(400):
        if all(file.exists() and file.read_text().strip() for file in files):
            break
        time.sleep(0.05)
    pids = [int(file.read_text()) for file in files]
    assert not any(Path(f"/proc/{pid}/stat").read_text().endswith("gone") for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert all(map(gone, pids))
