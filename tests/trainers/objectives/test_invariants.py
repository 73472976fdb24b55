"""What holds for the methods whatever the batch: random float64 logits, never as many responses as positions."""

from __future__ import annotations

import itertools

import pytest
import torch
from effort import effort
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scoring import loss_and_gradient, ppo_loss, scored
from simko.probes.forking import forking_mask
from simko.trainers.objectives import (
    ClipCov,
    EntropyAdvantage,
    ForkingTokens,
    GroupObjective,
    KLCov,
    SimKO,
    nsr,
    psr,
    w_reinforce,
)

GRPO = GroupObjective()
METHODS = {
    "grpo": GRPO,
    "simko": SimKO(alpha=0.3, k=3, tau=0.5, penalty=1.5),
    "simko_ratio": SimKO(alpha=0.3, k=3, tau=0.5, penalty=1.5, penalty_on="ratio"),
    "simko_softmax": SimKO(alpha=0.3, k=3, tau=0.5, penalty=1.5, weighting="softmax"),
    "psr": psr(),
    "nsr": nsr(),
    "w_reinforce": w_reinforce(),
    "kl_cov": KLCov(0.3),
    "clip_cov": ClipCov(0.2, 0.05, 5.0),
    "entropy_adv": EntropyAdvantage(),
    "forking_tokens": ForkingTokens(0.4),
}
SEED = st.integers(0, 100_000)


def random_batch(seed, rows=3, width=5, vocabulary=7):
    """logits, tokens, old log-probabilities, mask, advantages, right: what `loss_and_gradient` takes.

    Rows end at different places, at least one is right and one wrong.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, width, vocabulary, dtype=torch.float64, generator=generator)
    token = torch.randint(vocabulary, (rows, width), generator=generator)
    logprob = logits.log_softmax(-1).gather(-1, token.unsqueeze(-1)).squeeze(-1)
    old = logprob - 0.2 * torch.randn(rows, width, dtype=torch.float64, generator=generator)
    length = torch.randint(2, width + 1, (rows, 1), generator=generator)
    right = torch.arange(rows) < torch.randint(1, rows, (1,), generator=generator)
    size = 0.2 + torch.rand(rows, dtype=torch.float64, generator=generator)
    return logits, token, old, torch.arange(width) < length, torch.where(right, size, -size), right


@settings(deadline=None, max_examples=effort(50))
@given(seed=SEED, alpha=st.floats(0, 1), tau=st.floats(0, 1), penalty=st.floats(0.5, 2))
@pytest.mark.parametrize("off", ["no forks", "no strength"])
def test_simko_switched_off_is_grpo_to_the_last_bit(off, seed, alpha, tau, penalty):
    batch = random_batch(seed)
    simko = SimKO(alpha=alpha, tau=1.0, penalty=penalty) if off == "no forks" else SimKO(0.0, tau=tau, penalty=1.0)
    for result, expected in zip(loss_and_gradient(simko, *batch), loss_and_gradient(GRPO, *batch), strict=True):
        assert torch.equal(result, expected)


@settings(deadline=None, max_examples=effort(30))
@given(seed=SEED)
@pytest.mark.parametrize("method", METHODS)
def test_logit_gradients_sum_to_zero_over_the_vocabulary(method, seed):
    batch = random_batch(seed)
    _, gradient = loss_and_gradient(METHODS[method], *batch)
    assert gradient.sum(-1).abs().max() < 1e-12
    assert not gradient[~batch[3]].any()


@settings(deadline=None, max_examples=effort(30))
@given(seed=SEED, columns=st.integers(0, 4), scale=st.sampled_from([0.0, 1.0, 50.0]))
@pytest.mark.parametrize("method", METHODS)
def test_padding_changes_no_loss_and_no_gradient(method, seed, columns, scale):
    """Neither what stands in it nor how much of it there is: thresholds, means and shares are of the valid tokens."""
    logits, token, old, mask, advantages, right = random_batch(seed)
    (rows, width, vocabulary), generator = logits.shape, torch.Generator().manual_seed(seed + 1)
    noise = scale * torch.randn(rows, width + columns, vocabulary, dtype=torch.float64, generator=generator)
    valid = torch.nn.functional.pad(mask, (0, columns))

    def repadded(values, other):
        other[valid] = values[mask]
        return other

    other = (
        repadded(logits, noise),
        repadded(token, torch.randint(vocabulary, valid.shape, generator=generator)),
        repadded(old, -scale * torch.rand(valid.shape, dtype=torch.float64, generator=generator)),
        valid,
        advantages,
        right,
    )
    torch.manual_seed(0)  # Clip-Cov draws
    loss, gradient = loss_and_gradient(METHODS[method], logits, token, old, mask, advantages, right)
    torch.manual_seed(0)
    other_loss, other_gradient = loss_and_gradient(METHODS[method], *other)
    torch.testing.assert_close(other_loss, loss, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(other_gradient[:, :width], gradient, rtol=1e-12, atol=1e-14)
    assert not other_gradient[:, width:].any()


def released_code(logits, token, old, mask, advantages, right, old_top, alpha, k, tau, penalty):
    """SimKO's loss as the released code computes it, from the old policy's top-K log-probabilities as well."""
    logp = logits.log_softmax(-1)
    ratio = (logp.gather(-1, token.unsqueeze(-1)).squeeze(-1) - old).exp()
    fork = forking_mask(-(logp.exp() * logp).sum(-1), mask, tau)
    top_ratio = (logp.topk(k, -1).values - old_top).exp()
    terms = ratio.detach().unsqueeze(-1) * top_ratio / (top_ratio.detach() + 1e-8)
    weight = alpha * (fork & right.unsqueeze(1))
    mixed = (1 - weight) * ratio + weight / k * terms.sum(-1)
    rank_one = token == logits.argmax(-1)
    a = advantages.unsqueeze(1)
    a = torch.where((a < 0) & fork & rank_one, penalty * a, a)
    per_token = torch.maximum(-a * mixed, -a * mixed.clamp(0.8, 1.2))
    return (per_token * mask).sum() / mask.sum()


def away_from_the_clip(logits, token, old, margin):
    """Whether no ratio is so close to 1 ± .2 that rounding or a step of `margin` decides its side."""
    ratio = (logits.log_softmax(-1).gather(-1, token.unsqueeze(-1)).squeeze(-1) - old).exp()
    return min((ratio - 0.8).abs().min(), (ratio - 1.2).abs().min()) > margin


@settings(deadline=None, max_examples=effort(40))
@given(seed=SEED, k=st.integers(1, 7), tau=st.floats(0, 0.9))
def test_the_old_policys_top_k_cancel(seed, k, tau):
    """Whatever they are, the released code's gradient is that of the objective, which never sees them."""
    batch = random_batch(seed)
    logits, token, old, *_ = batch
    assume(away_from_the_clip(logits, token, old, 1e-6))
    objective = SimKO(alpha=0.3, k=k, tau=tau, penalty=1.5)
    loss, gradient = loss_and_gradient(objective, *batch)
    for shift in (1, 2):
        generator = torch.Generator().manual_seed(seed + shift)
        old_top = -2 * torch.rand(*token.shape, k, dtype=torch.float64, generator=generator)
        free = logits.clone().requires_grad_(True)
        theirs = released_code(free, *batch[1:], old_top, alpha=0.3, k=k, tau=tau, penalty=1.5)
        # Their 1e-8 beside the ratio of a candidate of probability 1e-5 is 1e-3 of the candidate's share
        torch.testing.assert_close(theirs.detach(), loss, rtol=0, atol=1e-4)
        torch.testing.assert_close(torch.autograd.grad(theirs, free)[0], gradient, rtol=0, atol=1e-4)


@settings(deadline=None, max_examples=effort(30))
@given(seed=SEED, more=st.integers(0, 3), alpha=st.floats(0, 1))
def test_smoothing_over_the_whole_vocabulary_is_uniform(seed, more, alpha):
    """K ≥ V on the first pass: -∂L/∂z of a fork of a right response is A(ẽ - π), ẽ = (1 - α)e_y + α/V."""
    logits, token, _, mask, advantages, right = random_batch(seed)
    vocabulary = logits.size(-1)
    logits.requires_grad_(True)
    old = logits.log_softmax(-1).gather(-1, token.unsqueeze(-1)).squeeze(-1).detach()
    batch = scored(logits, token, mask, advantages, right, vocabulary, old)
    objective = SimKO(alpha=alpha, k=vocabulary + more, tau=0.5, penalty=1.0)
    gradient = torch.autograd.grad(ppo_loss(objective, batch), logits)[0] * mask.sum()
    fork = forking_mask(batch.entropy, mask, 0.5) & right.unsqueeze(1)
    label = torch.nn.functional.one_hot(token, vocabulary).double()
    label = torch.where(fork.unsqueeze(-1), (1 - alpha) * label + alpha / vocabulary, label)
    expected = -advantages.view(-1, 1, 1) * (label - logits.detach().softmax(-1)) * mask.unsqueeze(-1)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=effort(10))
@given(seed=SEED, tau=st.floats(0, 0.9), penalty=st.floats(0.5, 2))
def test_the_gradient_is_the_finite_difference_of_the_frozen_surrogate(seed, tau, penalty):
    """(1 - αw)·PPO - αw·1[A > 0, γ ≤ 1 + ε]·A·sg(γ)·mean_k log π(v⁽ᵏ⁾), with w, sg(γ), v⁽ᵏ⁾ and the ranks held.

    The objective's own value cannot be differenced: it is GRPO's.
    """
    alpha, k, step = 0.3, 3, 1e-5
    batch = random_batch(seed)
    logits, token, old, mask, advantages, right = batch
    assume(away_from_the_clip(logits, token, old, 1e-3))
    _, gradient = loss_and_gradient(SimKO(alpha=alpha, k=k, tau=tau, penalty=penalty), *batch)

    frozen = logits.log_softmax(-1)
    ratio_held = (frozen.gather(-1, token.unsqueeze(-1)).squeeze(-1) - old).exp()
    fork = forking_mask(-(frozen.exp() * frozen).sum(-1), mask, tau)
    candidates = frozen.topk(k, -1).indices
    weight = alpha * (fork & right.unsqueeze(1))
    a = advantages.unsqueeze(1)
    penalised = torch.where((a < 0) & fork & (frozen.argmax(-1) == token), penalty * a, a)
    alive = (a > 0) & (ratio_held <= 1.2)

    def surrogate(z):
        logp = z.log_softmax(-1)
        ratio = (logp.gather(-1, token.unsqueeze(-1)).squeeze(-1) - old).exp()
        ppo = torch.maximum(-penalised * ratio, -penalised * ratio.clamp(0.8, 1.2))
        smooth = alive * a * ratio_held * logp.gather(-1, candidates).mean(-1)
        return (((1 - weight) * ppo - weight * smooth) * mask).sum() / mask.sum()

    difference = torch.zeros_like(logits)
    for place in itertools.product(*map(range, logits.shape)):
        nudge = torch.zeros_like(logits)
        nudge[place] = step
        difference[place] = (surrogate(logits + nudge) - surrogate(logits - nudge)) / (2 * step)
    torch.testing.assert_close(gradient, difference, rtol=0, atol=1e-8)


@settings(deadline=None, max_examples=effort(30))
@given(seed=SEED, alpha=st.floats(0, 1), k=st.integers(1, 7))
def test_constant_positive_credit_pulls_towards_uniform_over_the_top_k(seed, alpha, k):
    """On the first pass, averaged over what the policy samples, the labels are off π by α(U_K - π) and no more."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(7, dtype=torch.float64, generator=generator)
    probability = z.softmax(-1)
    sure = torch.tensor([60.0] + [0.0] * 6, dtype=torch.float64)
    logits = torch.stack([z, sure]).expand(7, 2, 7).contiguous()  # every token sampled once, beside a sure one
    token = torch.stack([torch.arange(7), torch.zeros(7, dtype=torch.long)], 1)
    old = logits.log_softmax(-1).gather(-1, token.unsqueeze(-1)).squeeze(-1)
    mask = torch.ones(7, 2, dtype=torch.bool)
    ones = torch.ones(7, dtype=torch.float64)
    _, gradient = loss_and_gradient(SimKO(alpha=alpha, k=k, tau=0.5), logits, token, old, mask, ones, ones > 0)
    mean_pull = -14 * (probability.unsqueeze(1) * gradient[:, 0]).sum(0)
    uniform = torch.zeros(7, dtype=torch.float64).scatter(0, z.topk(k).indices, 1 / k)
    torch.testing.assert_close(mean_pull, alpha * (uniform - probability), rtol=0, atol=1e-12)
