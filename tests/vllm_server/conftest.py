"""vLLM's own server on the CPU, and a policy that it takes. Collected by `make test-vllm` alone."""

from __future__ import annotations

import os

os.environ.update(
    HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1"
)

import pytest
import torch
import vllm  # noqa: F401  what is tested is nothing without it
from simko.trainers.models.base_policy.build import train
from vllm_processes import MARK, started


@pytest.fixture(scope="session")
def policy(tmp_path_factory):
    """A Countdown policy of mixed quality with heads of 32, trained here; its folder."""
    folder = tmp_path_factory.mktemp("policy") / "countdown-32"
    torch.set_num_threads(1)
    model, tokenizer = train(0, 150, heads=2)
    assert model.config.head_dim == 32
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def mark(request, monkeypatch):
    """What the environment of all that this test starts says, whatever group or session it is in."""
    value = f"{os.getpid()}-{request.node.name}"
    monkeypatch.setenv(MARK, value)
    yield value
    for process in started(value):
        process.kill()
