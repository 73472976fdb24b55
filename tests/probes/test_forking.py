"""The forking rule against `torch.quantile`, response by response."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.probes.forking import forking_mask


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), tau=st.floats(0, 1), b=st.integers(1, 5), t=st.integers(0, 30))
def test_equals_the_quantile_of_each_response(seed, tau, b, t):
    generator = torch.Generator().manual_seed(seed)
    entropy = torch.rand(b, t, generator=generator, dtype=torch.float64)
    mask = torch.rand(b, t, generator=generator) > 0.4
    result = forking_mask(entropy, mask, tau)
    for row in range(b):
        counted = entropy[row][mask[row]]
        if len(counted) == 0:
            assert not result[row].any()
            continue
        threshold = torch.quantile(counted, tau)
        clear = (counted - threshold).abs() > 1e-12  # the two interpolate with different rounding
        assert torch.equal(result[row][mask[row]][clear], (counted > threshold)[clear])
        assert not result[row][~mask[row]].any()


def test_padding_never_moves_the_threshold():
    entropy = torch.tensor([[0.1, 0.9, 0.5, 0.3, 99.0, float("nan")]])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    assert forking_mask(entropy, mask, 0.5).tolist() == [[False, True, True, False, False, False]]


def test_tau_one_gives_none_and_tau_zero_all_but_the_minimum():
    entropy = torch.tensor([[0.2, 0.2, 0.4, 0.3]])
    mask = torch.ones_like(entropy)
    assert not forking_mask(entropy, mask, 1.0).any()
    assert forking_mask(entropy, mask, 0.0).tolist() == [[False, False, True, True]]


def test_a_token_on_the_threshold_is_no_fork():
    assert forking_mask(torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3), 0.5).tolist() == [[False, False, True]]


def test_no_gradient_and_clear_errors():
    assert not forking_mask(torch.rand(1, 3, requires_grad=True), torch.ones(1, 3), 0.5).requires_grad
    with pytest.raises(ValueError, match="quantile level"):
        forking_mask(torch.rand(1, 3), torch.ones(1, 3), 1.5)
    with pytest.raises(ValueError, match="same shape"):
        forking_mask(torch.rand(1, 3), torch.ones(1, 4), 0.5)
