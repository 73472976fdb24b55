"""What the probe allocates beside the model, as the allocator tells it: little, and the same at any length."""

from __future__ import annotations

import pytest
import torch
from simko.probes import add_ranked_head
from simko.probes.recording.capture import capture
from tiny import llama
from torch.profiler import ProfilerActivity, profile

VOCABULARY = 152_064
MIB = 1 << 20


def peak_of(work):
    """Largest sum of bytes allocated and not yet freed while `work` runs, temporaries of operations included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def test_the_measure_sees_what_is_allocated():
    assert 4 * MIB <= peak_of(lambda: torch.zeros(MIB).add(1)) <= 10 * MIB


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_capturing_ready_logits_takes_at_most_16_mib_at_any_length(dtype):
    peaks = []
    for length in (17, 65):
        logits = torch.randn(1, length, VOCABULARY).to(dtype)
        ids = torch.randint(VOCABULARY, (1, length))
        inputs = {"input_ids": ids, "attention_mask": None, "labels": None, "virtual_tokens": 0}
        peaks.append(peak_of(lambda logits=logits, inputs=inputs: capture(logits, inputs, 5, 1.0)))
    assert max(peaks) <= 16 * MIB
    # Not with the length, which is 3.8 times as large: two events at one instant can be worth some MiB.
    assert peaks[1] <= peaks[0] * 1.6


def test_ranked_statistics_add_little_to_scoring_without_them():
    """The head's own chunk of logits aside, what scoring a batch takes does not grow with its length."""
    model = llama(vocab_size=VOCABULARY)
    add_ranked_head(model, k=5, chunk_bytes=4 * MIB)
    peaks = []
    for length in (16, 64):
        ids = torch.randint(VOCABULARY, (1, length))
        with torch.no_grad():
            peaks.append(peak_of(lambda ids=ids: model(input_ids=ids, labels=ids, ranked=True)))
    assert max(peaks) <= 24 * MIB
    assert peaks[1] <= peaks[0] * 1.1 + MIB
