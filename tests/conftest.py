"""Fixtures that several rooms' tests share; what they are made of is in `tests/tiny.py`."""

from __future__ import annotations

import os
from pathlib import Path

if not Path("/dev/nvidiactl").exists():  # read when Triton is imported, which any library may do
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker of pytest-xdist for each core; and threads are not forked

import pytest
import tiny


@pytest.fixture
def tiny_tokenizer():
    """The word-level tokenizer."""
    return tiny.tokenizer()


@pytest.fixture
def tiny_llama():
    """A factory of identical Llamas."""
    return tiny.llama
