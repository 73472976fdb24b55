"""The words about what a run's figures mean."""

from __future__ import annotations

import pytest
from simko.dashboard.pages.runs import logprobs_in_words


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ({"logprobs": "raw", "temperature": 0.6}, "raw: of softmax(logits / 0.6)"),
        ({"logprobs": "raw", "temperature": 1.0}, "raw: of softmax(logits / 1)"),
        ({"logprobs": "raw"}, "raw, at a temperature that is not recorded"),
        ({"logprobs": "processed", "temperature": 0.6}, "processed"),
        ({}, "None"),
    ],
)
def test_log_probabilities_name_the_temperature_they_were_computed_at(probe, words):
    assert logprobs_in_words(probe) == words
