"""Fixtures that several rooms' tests share; what they are made of is in `tests/tiny.py`."""

from __future__ import annotations

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
