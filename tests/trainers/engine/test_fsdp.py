"""FSDP2 on two gloo ranks changes no loss, statistic or weight; a launch that should shard and does not is told so."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import simko.store
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.numpy import load_file
from simko.trainers.checks import sharding_not_given
from tiny import assert_same_history

SCRIPT = Path(__file__).parent / "fsdp_processes.py"
LAUNCHES = Path(__file__).parents[3] / "examples" / "launch"
STATISTICS = "rank, logprob, entropy, collision, logp_1, logp_2, logp_3, id_1, id_2, weight, ratio, forking"


def launch(folder, mode):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder), mode], capture_output=True, text=True, env=environment, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_sharding_changes_nothing(tmp_path):
    rows, history, weights = {}, {}, {}
    for mode in ("whole", "sharded"):
        launch(tmp_path, mode)
        history[mode] = json.loads((tmp_path / f"{mode}.json").read_text())
        weights[mode] = load_file(tmp_path / f"{mode}.safetensors")
        with simko.store.open(tmp_path / mode) as catalog:
            rows[mode] = catalog.execute(
                f"SELECT step, worker, response_id, position, token_id, {STATISTICS} FROM tokens ORDER BY ALL"
            ).fetchall()
    assert_same_history(history["sharded"], history["whole"])
    assert len(rows["whole"]) == len(rows["sharded"]) > 300
    for whole, sharded in zip(rows["whole"], rows["sharded"], strict=True):
        assert sharded == pytest.approx(whole, abs=1e-5)
    assert weights["whole"].keys() == weights["sharded"].keys()
    assert max(abs(weights["whole"][name] - weights["sharded"][name]).max() for name in weights["whole"]) < 1e-6


@pytest.mark.parametrize("asked", ["FSDP", "DEEPSPEED"])
def test_a_launch_that_asked_for_sharding_and_got_none_is_told_so(asked):
    environment = {f"ACCELERATE_USE_{asked}": "true"}
    told = sharding_not_given(environment, "MULTI_CPU")
    assert told is not None and asked in told.upper() and "MULTI_CPU" in told
    assert sharding_not_given(environment, asked) is None
    assert sharding_not_given({}, "MULTI_CPU") is None


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero3", "two_nodes"])
def test_the_shipped_launches_are_accelerates(name):
    config = load_config_from_file(str(LAUNCHES / f"{name}.yaml"))
    kind = {"ddp": "MULTI_GPU", "zero3": "DEEPSPEED"}.get(name, "FSDP")
    assert str(config.distributed_type).rpartition(".")[2] == kind
    assert config.num_processes == (16 if name == "two_nodes" else 8)
    if kind == "FSDP":
        assert config.fsdp_config["fsdp_version"] == 2
