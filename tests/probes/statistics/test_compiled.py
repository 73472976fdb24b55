"""The compiled sums against the definitions in float64; they need a C++ compiler on the CPU."""

from __future__ import annotations

import shutil

import pytest
import torch
from effort import some
from ranked_cases import CASES, random_logits
from simko.probes.errors import BackendMissing
from simko.probes.statistics.logit_transform import LogitTransform
from simko.probes.statistics.ranked_statistics import ranked_statistics

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on the CPU")


@needs_compiler
def test_equals_definitions(oracle):
    for name, logits, labels, k in some(CASES, 4):  # each is compiled anew, for seconds
        result, expected = ranked_statistics(logits, labels, k, backend="compile"), oracle(logits, labels, k)
        assert torch.equal(result.rank, expected["rank"]), name
        assert torch.equal(result.top_id, expected["top_id"]), name
        moments = ("entropy", "collision", "collision_logprob", "entropy_slope")
        for field in ("logprob", *moments, "top_logprob", "logsumexp"):
            value = getattr(result, field).double()
            torch.testing.assert_close(value, expected[field], atol=1e-4, rtol=1e-6, msg=f"{name}: {field}")


@needs_compiler
def test_gradients_are_those_of_the_plain_pass():
    grads = {}
    for backend in ("eager", "compile"):
        logits, labels = random_logits(4, 700)
        stats = ranked_statistics(logits.requires_grad_(), labels, 4, LogitTransform(temperature=0.8), backend=backend)
        (stats.logprob.sum() - 0.3 * stats.entropy.sum() + stats.top_logprob.sum()).backward()
        grads[backend] = logits.grad
    torch.testing.assert_close(grads["compile"], grads["eager"], atol=1e-6, rtol=1e-5)


def test_without_a_compiler_it_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    logits, labels = random_logits(2, 50)
    with pytest.raises(BackendMissing, match="needs a C\\+\\+ compiler"):
        ranked_statistics(logits, labels, 3, backend="compile")
