"""verl on the CPU, with the plugin loaded by verl's own loader. Collected by `make test-verl` alone."""

from __future__ import annotations

import os

os.environ.update(
    VERL_USE_EXTERNAL_MODULES="verl_cpu_platform",
    VERL_PLATFORM="cpu",
    VERL_ENGINE_VENDOR="simko",
    SIMKO_VERL="{}",
    HF_HUB_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
)

import pytest
import tiny
import torch
import verl  # noqa: F401  before anything of the plugin, which verl loads itself


@pytest.fixture(scope="session", autouse=True)
def one_process(tmp_path_factory):
    store = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny Llama and its tokenizer on disk; verl reads both."""
    folder = tmp_path_factory.mktemp("model")
    tiny.llama(num_attention_heads=4, num_key_value_heads=4).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder
