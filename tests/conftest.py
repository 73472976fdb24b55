"""Fixtures that several rooms' tests share; what they are made of is in `tests/tiny.py`."""

from __future__ import annotations

import gc
import os
from pathlib import Path

if not Path("/dev/nvidiactl").exists():  # read when Triton is imported, which any library may do
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker of pytest-xdist for each core; and threads are not forked

import hypothesis
import pytest
import tiny

# What torch, TRL and pandas have made stays; to look through it at every turn takes a sixteenth of the time.
gc.set_threshold(100_000, 20, 100)

# A busy machine is slow, and no test is about time.
hypothesis.settings.register_profile("simko", deadline=None)
hypothesis.settings.load_profile("simko")


@pytest.fixture
def tiny_tokenizer():
    """The word-level tokenizer."""
    return tiny.tokenizer()


@pytest.fixture
def tiny_llama():
    """A factory of identical Llamas."""
    return tiny.llama
