"""The fused statistics against their definitions in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranked_cases import CASES, masked, random_logits
from simko.probes.errors import TooManyCandidates
from simko.probes.statistics.logit_transform import LogitTransform
from simko.probes.statistics.ranked_statistics import ranked_statistics
from simko.probes.statistics.topk import top_candidates


@pytest.mark.parametrize(("name", "logits", "labels", "k"), CASES, ids=[c[0] for c in CASES])
def test_equals_definitions(name, logits, labels, k, oracle):
    result, expected = ranked_statistics(logits, labels, k), oracle(logits, labels, k)
    assert torch.equal(result.rank, expected["rank"])
    assert torch.equal(result.top_id, expected["top_id"])
    # Sums of 152k float32 terms differ by 1.02e-4 on some processors.
    tolerance = 1e-12 if logits.dtype == torch.float64 else 1e-5 if logits.size(1) < 100_000 else 2e-4
    for field in ("entropy", "collision", "collision_logprob", "entropy_slope"):
        torch.testing.assert_close(getattr(result, field).double(), expected[field], atol=tolerance, rtol=0)
    for field in ("logprob", "top_logprob", "logsumexp"):
        value = getattr(result, field).double()
        torch.testing.assert_close(value, expected[field], atol=tolerance, rtol=1e-6)


def test_computes_in_float32_for_low_precision_and_float64_for_float64():
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64,) * 2):
        logits, labels = random_logits(2, 30, dtype=dtype)
        assert ranked_statistics(logits, labels, 3).logprob.dtype == expected


@pytest.mark.parametrize("transform", [LogitTransform(), LogitTransform(0.4, None, 0.7), LogitTransform(1.3, 5.0, 0.7)])
@pytest.mark.parametrize("field", ["logprob", "entropy", "top_logprob"])
def test_gradients(field, transform):
    logits, labels = random_logits(4, 9, dtype=torch.float64)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: getattr(ranked_statistics(z, labels, 3, transform), field), (logits,))


def test_gradients_together_equal_autograd_of_the_definitions():
    logits, labels = random_logits(7, 50, dtype=torch.float64)
    weights = torch.randn(7, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def combine(logprob, entropy, top):
        return (logprob * weights[:, 0] + entropy * weights[:, 1] + (top * weights[:, 2:]).sum(1)).sum()

    ours = logits.clone().requires_grad_()
    stats = ranked_statistics(ours, labels, 3)
    combine(stats.logprob, stats.entropy, stats.top_logprob).backward()
    plain = logits.clone().requires_grad_()
    log_p = plain.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    combine(log_p.gather(1, labels[:, None])[:, 0], entropy, log_p.topk(3).values).backward()
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-12, rtol=0)


def test_gradient_of_masked_logits_is_zero_and_finite():
    logits, labels = masked(*random_logits(5, 60), keep=9)
    logits.requires_grad_()
    stats = ranked_statistics(logits, labels, 3)
    (stats.logprob + stats.entropy + stats.top_logprob.sum(1)).sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[logits.isinf()] == 0).all()


def test_gradient_has_the_dtype_of_the_logits():
    logits, labels = random_logits(3, 40, dtype=torch.bfloat16)
    logits.requires_grad_()
    ranked_statistics(logits, labels, 3).logprob.sum().backward()
    assert logits.grad.dtype == torch.bfloat16


def test_the_rest_carries_no_gradient():
    logits, labels = random_logits(3, 40)
    stats = ranked_statistics(logits.requires_grad_(), labels, 3)
    assert [f for f, v in stats._asdict().items() if v.requires_grad] == ["logprob", "entropy", "top_logprob"]


@pytest.mark.parametrize("k", [0, 10])
def test_k_outside_the_vocabulary(k):
    with pytest.raises(TooManyCandidates, match=r"between 1 and 9"):
        ranked_statistics(*random_logits(2, 9), k)


def test_no_rows():
    stats = ranked_statistics(torch.zeros(0, 9, requires_grad=True), torch.zeros(0, dtype=torch.long), 3)
    assert stats.logprob.shape == (0,) and stats.top_id.shape == (0, 3) and stats.logprob.requires_grad


def test_nan_stays_in_its_row():
    logits, labels = random_logits(3, 600)
    logits[1, 4] = torch.nan
    stats = ranked_statistics(logits, labels, 5)
    assert stats.logprob.isnan().tolist() == [False, True, False]
    assert stats.entropy.isnan().tolist() == [False, True, False]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    v=st.integers(2, 900),
    scale=st.sampled_from([0.0, 0.3, 3.0, 100.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    data=st.data(),
)
def test_properties(seed, v, scale, dtype, data):
    k = data.draw(st.integers(1, min(v, 20)))
    logits, labels = random_logits(5, v, scale, dtype, seed)
    s = ranked_statistics(logits, labels, k)
    assert (s.top_logprob.exp().sum(1) <= 1 + 1e-5).all()
    assert (s.top_logprob.diff(dim=1) <= 0).all()
    assert (s.entropy >= 0).all() and (s.entropy <= math.log(v) + 1e-5).all()
    assert (s.logprob <= s.top_logprob[:, 0]).all() and (s.top_logprob <= 0).all()
    assert (s.collision >= s.top_logprob[:, 0].exp().square() - 1e-6).all() and (s.collision <= 1 + 1e-6).all()
    # Rényi: H₂ ≤ H
    assert (-s.collision.log() <= s.entropy + 1e-4).all()
    for row in range(5):
        hit = (s.top_id[row] == labels[row]).nonzero()
        if len(hit):  # a candidate's rank is its place, less those it ties with
            assert s.rank[row] <= hit[0, 0] + 1
            assert s.top_logprob[row, hit[0, 0]] == s.logprob[row]
        else:
            assert s.rank[row] > k or s.logprob[row] == s.top_logprob[row, -1]
        assert len(set(s.top_id[row].tolist())) == k


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), v=st.integers(1, 6000), levels=st.integers(1, 40), data=st.data())
def test_ties_go_to_the_lowest_id(seed, v, levels, data):
    k = data.draw(st.integers(1, min(v, 12)))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(levels, (3, v), generator=generator).float()
    x[x == 0] = -torch.inf
    expected = x.sort(dim=1, descending=True, stable=True)
    value, index = top_candidates(x, k)
    assert torch.equal(value, expected.values[:, :k])
    assert torch.equal(index, expected.indices[:, :k])
