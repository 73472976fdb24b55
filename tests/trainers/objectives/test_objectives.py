"""The other methods against float64 vectors, closed forms and brute force."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import loss_and_gradient, scored
from simko.trainers.objectives import (
    PKPO,
    ClipCov,
    EntropyAdvantage,
    ForkingTokens,
    KLCov,
    PassAtKTraining,
    ScoredBatch,
    nsr,
    psr,
    w_reinforce,
)
from simko.trainers.objectives.covariance import token_covariance
from simko.trainers.objectives.pkpo import leave_one_out_minus_one

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "simko.json").read_text())
BATCH = VECTORS["batch"]
LOGITS = torch.tensor(BATCH["logits"], dtype=torch.float64)
TOKEN = torch.tensor(BATCH["y"])
MASK = torch.tensor(BATCH["mask"]).bool()
LOGPROB = LOGITS.log_softmax(-1).gather(-1, TOKEN.unsqueeze(-1)).squeeze(-1)
OLD = LOGPROB - torch.tensor(BATCH["gamma"], dtype=torch.float64).log()  # exact where γ = 1: |log γ| has a kink there
ADVANTAGES = torch.tensor(VECTORS["grpo_adv_n8"]["3"], dtype=torch.float64)
RIGHT = torch.tensor([True, False])
UNCLIPPED = {"low": 1e6, "high": 1e6}


def credited(objective):
    """The advantages of the two rows, from a group of eight of which three are right."""
    rewards = torch.tensor([[1.0] * 3 + [0.0] * 5], dtype=torch.float64)
    grpo = torch.where(rewards > 0, ADVANTAGES[0], ADVANTAGES[1])
    credit = objective.group_advantages(rewards, grpo)
    return torch.stack([credit[0, 0], credit[0, -1]])


@pytest.mark.parametrize(
    ("name", "objective", "clip"),
    [
        ("batch_psr", psr(), {}),
        ("batch_nsr", nsr(), {}),
        ("batch_w_reinforce_0.1", w_reinforce(0.1), {}),
        ("batch_entropy_adv_0.4_2", EntropyAdvantage(0.4, 2.0), {}),
        ("batch_forking_rho0.2_hi0.28", ForkingTokens(0.2), {"high": 0.28}),
        ("batch_klcov_k0.3_beta1", KLCov(0.3, 1.0), UNCLIPPED),
        ("batch_clipcov_win0.05_5_all", ClipCov(1.0, 0.05, 5.0), {"low": 1.0, "high": 1.0}),
    ],
)
def test_batch_vectors(name, objective, clip):
    loss, gradient = loss_and_gradient(objective, LOGITS, TOKEN, OLD, MASK, credited(objective), RIGHT, **clip)
    assert loss.item() == pytest.approx(VECTORS[name]["loss"], abs=1e-9)
    assert gradient.norm().item() == pytest.approx(VECTORS[name]["grad_l2"], abs=1e-9)
    assert gradient.sum(-1).abs().max() < 1e-12
    assert gradient[1, 3].abs().max() == 0


def batch_for(objective):
    return scored(LOGITS, TOKEN, MASK, ADVANTAGES, RIGHT, objective.num_candidates, OLD)


def test_the_tokens_singled_out_are_those_of_the_vectors():
    assert torch.equal(KLCov(0.3)(batch_for(KLCov())).forking.int(), torch.tensor(SELECTED["batch_klcov_k0.3_beta1"]))
    forking = ForkingTokens(0.2)
    assert torch.equal(forking(batch_for(forking)).forking.int(), torch.tensor(SELECTED["batch_forking_rho0.2_hi0.28"]))
    clip = ClipCov(1.0, 0.05, 5.0)
    assert torch.equal(clip(batch_for(clip)).forking.int(), torch.tensor(SELECTED["batch_clipcov_win0.05_5_all"]))


SELECTED = {
    name: [[int(v) for v in row] for row in VECTORS[name].get("sel", VECTORS[name].get("zeroed"))]
    for name in ("batch_klcov_k0.3_beta1", "batch_forking_rho0.2_hi0.28", "batch_clipcov_win0.05_5_all")
}


def test_covariance_is_the_vectors():
    expected = [[v or 0.0 for v in row] for row in VECTORS["batch_cov"]]
    covariance = token_covariance(LOGPROB, ADVANTAGES, MASK)
    torch.testing.assert_close(covariance, torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("objective", [psr(), nsr(), w_reinforce(0.1)])
def test_the_mean_over_the_kept_class_is_that_of_the_whole_batch(objective):
    """However the rows are split into micro-batches, their losses under one normaliser add up to the whole's."""
    random = torch.Generator().manual_seed(3)
    rows, width = 12, 5
    logprob = -torch.rand(rows, width, dtype=torch.float64, generator=random)
    mask = torch.arange(width) < torch.randint(1, width + 1, (rows, 1), generator=random)
    right = torch.rand(rows, generator=random) < 0.4
    wrong = ~right & (torch.rand(rows, generator=random) < 0.8)  # the rest is unjudged
    rewards = torch.where(right, 1.0, torch.where(wrong, 0.0, torch.nan)).double()
    advantages = objective.group_advantages(rewards.view(1, -1), torch.zeros(1, rows, dtype=torch.float64)).flatten()
    kept = (right & (objective.positive > 0)) | (wrong & (objective.negative > 0))
    expected = -(logprob * advantages[:, None] * mask).sum() / (mask & kept[:, None]).sum()

    def loss(size, **shares):
        parts = []
        for rows_of in torch.arange(rows).split(size):
            values = {"logprob": logprob, "mask": mask, "advantages": advantages, "right": right, "wrong": wrong}
            taken = {name: value[rows_of] for name, value in values.items()}
            empty = logprob.new_empty(0, 0, 0)
            batch = ScoredBatch(
                **taken, old_logprob=taken["logprob"], entropy=-taken["logprob"], top_logprob=empty,
                rank=logprob.new_empty(0, 0), **shares,
            )  # fmt: skip
            surrogate = objective(batch)
            parts.append(-(surrogate.logprob * surrogate.advantages[:, None] * taken["mask"]).sum() / mask.sum())
        return sum(parts)

    shares = {
        name: (mask & own[:, None]).sum().double() / mask.sum()
        for name, own in (("right_share", right), ("wrong_share", wrong))
    }
    for size in (1, 3, 12):
        assert loss(size, **shares).item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss(12).item() == pytest.approx(expected.item(), rel=1e-12)
    assert (objective.positive and objective.negative) or loss(3).item() != pytest.approx(expected.item(), rel=1e-3)


def test_a_batch_without_the_kept_class_has_no_loss():
    batch = replace(batch_for(psr()), right=torch.zeros(2, dtype=torch.bool), advantages=torch.zeros(2).double())
    for share in (None, torch.tensor(0.0)):
        assert not psr()(replace(batch, right_share=share)).advantages.any()


def test_clip_cov_takes_few_and_leaves_clipped_tokens_alone():
    few = ClipCov(1e-9, 0.05, 5.0)
    assert few(batch_for(few)).forking.sum() == 1
    tight = ClipCov(1.0, 0.05, 5.0)
    clipped = tight(replace(batch_for(tight), epsilon_low=0.01, epsilon_high=0.01)).forking
    assert clipped.int().tolist() == [[0, 0, 1, 0], [0, 0, 1, 0]]  # [0, 3] has γ = 1.05, A > 0; [1, 0] γ = .9, A < 0
    none = ClipCov(1.0, 100.0, 200.0)
    assert not none(batch_for(none)).forking.any()


@pytest.mark.parametrize("objective", [psr(), nsr(), w_reinforce(0.1)])
def test_uniform_groups_teach_where_the_method_uses_their_class(objective):
    rewards = torch.tensor([[1.0, 1.0], [0.0, 0.0], [float("nan"), 1.0]])
    credit = objective.group_advantages(rewards, torch.zeros(3, 2))
    assert credit[0].tolist() == pytest.approx([objective.positive] * 2)
    assert credit[1].tolist() == pytest.approx([-objective.negative] * 2)
    assert credit[2, 0] == 0


@pytest.mark.parametrize("c", range(9))
def test_pass_at_k_training_vectors(c):
    rewards = torch.tensor([[1.0] * c + [0.0] * (8 - c)], dtype=torch.float64)
    credit = PassAtKTraining(4).group_advantages(rewards, torch.zeros_like(rewards))[0]
    right, wrong = VECTORS["passk_train_adv_n8_k4"][str(c)]
    expected = [right] * c + [wrong] * (8 - c)
    assert credit.tolist() == pytest.approx(expected, abs=5e-6)  # the released code adds 1e-6 to σ
    assert credit.sum().item() == pytest.approx(0, abs=1e-9)


def brute_force(rewards, k):
    """Eq. 27-33 by enumerating every set."""
    n = len(rewards)
    if k == 1:
        return [(g - (sum(rewards) - g) / (n - 1)) / n for g in rewards]
    weights = [0.0] * n
    for chosen in itertools.combinations(range(n), k):
        for i in chosen:
            weights[i] += max(rewards[j] for j in chosen) - max(rewards[j] for j in chosen if j != i)
    return [w / math.comb(n, k) for w in weights]


@settings(deadline=None, max_examples=effort(80))
@given(rewards=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0]), min_size=2, max_size=8), data=st.data())
def test_pkpo_is_the_enumeration(rewards, data):
    k = data.draw(st.integers(1, len(rewards)))
    weights = leave_one_out_minus_one(torch.tensor(rewards, dtype=torch.float64), k)
    assert weights.tolist() == pytest.approx(brute_force(rewards, k), abs=1e-12)


def weights_by_enumeration(rewards, k):
    """s (Eq. 27), its leave-one-out form (Eq. 29) and leave-one-out-minus-one (Eq. 33), by every set; k ≥ 2."""
    n = len(rewards)
    sets = [*itertools.combinations(range(n), k)]
    s = [sum(max(rewards[j] for j in chosen) for chosen in sets if i in chosen) / len(sets) for i in range(n)]

    def s_without(j, i):
        """The weight j would have had if i had not been drawn."""
        rest = [chosen for chosen in sets if i not in chosen]
        return sum(max(rewards[m] for m in chosen) for chosen in rest if j in chosen) / len(rest)

    loo = [s[i] - sum(s_without(j, i) for j in range(n) if j != i) / (n - 1) for i in range(n)] if k < n else None
    return s, loo, brute_force(rewards, k)


def test_the_enumeration_gives_the_vectors():
    """What the oracle of the property below is worth: all three weights of two groups."""
    continuous, binary = VECTORS["pkpo_cont_k2"], VECTORS["pkpo_n8_c3_k4"]
    for rewards, k, expected in ((continuous["g"], 2, continuous), ([1.0] * 3 + [0.0] * 5, 4, binary)):
        for result, name in zip(weights_by_enumeration(rewards, k), ("s", "sloo", "sloo_minus_one"), strict=True):
            assert result == pytest.approx(expected[name], abs=1e-9)


@settings(deadline=None, max_examples=effort(40))
@given(logits=st.lists(st.floats(-2, 2), min_size=3, max_size=3), n=st.integers(2, 4), data=st.data())
def test_pkpo_is_an_unbiased_gradient_of_max_at_k(logits, n, data):
    """Over every possible group of n answers, E[Σ s_i ∇ log π(y_i)] = ∇ E[max of k answers]."""
    k = data.draw(st.integers(1, n))
    worth = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=3, max_size=3))).double()
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    logp = z.log_softmax(0)
    best = sum(logp[list(ys)].sum().exp() * worth[list(ys)].max() for ys in itertools.product(range(3), repeat=k))
    groups = torch.tensor([*itertools.product(range(3), repeat=n)])
    credit = PKPO(k).group_advantages(worth[groups], torch.zeros(len(groups), n, dtype=torch.float64))
    chance = logp[groups].sum(1).exp().detach()
    estimate = (chance * (credit * logp[groups]).sum(1)).sum()
    expected, result = torch.autograd.grad(best, z, retain_graph=True)[0], torch.autograd.grad(estimate, z)[0]
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=1e-9)


@settings(deadline=None, max_examples=effort(60))
@given(right=st.lists(st.booleans(), min_size=2, max_size=8), data=st.data())
def test_pass_at_k_training_is_grpo_over_every_subset(right, data):
    """The bootstrap form (Eq. 6) with all subsets drawn: a response's credit is its subsets' mean GRPO advantage."""
    n = len(right)
    k = data.draw(st.integers(1, n))
    sets = [*itertools.combinations(range(n), k)]
    rewards = [float(any(right[i] for i in chosen)) for chosen in sets]
    mean = sum(rewards) / len(sets)
    deviation = math.sqrt(sum((r - mean) ** 2 for r in rewards) / len(sets)) + 1e-6
    expected = []
    for i in range(n):
        credits = [(r - mean) / deviation for r, chosen in zip(rewards, sets, strict=True) if i in chosen]
        expected.append(sum(credits) / len(credits))
    group = torch.tensor([[float(r) for r in right]], dtype=torch.float64)
    result = PassAtKTraining(k).group_advantages(group, torch.zeros_like(group))[0]
    assert result.tolist() == pytest.approx(expected, abs=1e-9)


def test_pkpo_vectors():
    rewards = torch.tensor([[1.0] * 3 + [0.0] * 5], dtype=torch.float64)
    credit = PKPO(4).group_advantages(rewards, torch.zeros_like(rewards))[0]
    assert credit.tolist() == pytest.approx(VECTORS["pkpo_n8_c3_k4"]["sloo_minus_one"], abs=1e-9)
    continuous = VECTORS["pkpo_cont_k2"]
    weights = leave_one_out_minus_one(torch.tensor(continuous["g"], dtype=torch.float64), 2)
    assert weights.tolist() == pytest.approx(continuous["sloo_minus_one"], abs=1e-9)


def test_unjudged_responses_take_no_part_in_a_group():
    with_nan = torch.tensor([[1.0, float("nan"), 0.0, 0.0, 1.0]], dtype=torch.float64)
    without = torch.tensor([[1.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    for objective in (PassAtKTraining(2), PKPO(2)):
        credit = objective.group_advantages(with_nan, torch.zeros_like(with_nan))[0]
        assert credit[1] == 0
        rest = objective.group_advantages(without, torch.zeros_like(without))[0]
        assert credit[[0, 2, 3, 4]].tolist() == pytest.approx(rest.tolist())


@settings(deadline=None, max_examples=effort(40))
@given(alpha=st.floats(0, 2), kappa=st.floats(1.01, 5), seed=st.integers(0, 999))
def test_entropy_advantage_never_changes_a_sign(alpha, kappa, seed):
    generator = torch.Generator().manual_seed(seed)
    advantages = torch.randn(2, generator=generator, dtype=torch.float64)
    objective = EntropyAdvantage(alpha, kappa)
    changed = objective(scored(LOGITS, TOKEN, MASK, advantages, RIGHT, 0, OLD)).advantages
    assert torch.equal(changed.sign(), advantages.unsqueeze(1).expand_as(changed).sign())
    assert (changed >= advantages.unsqueeze(1)).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: w_reinforce(-1),
        lambda: KLCov(0),
        lambda: KLCov(0.1, -1),
        lambda: ClipCov(0.1, 5, 1),
        lambda: EntropyAdvantage(0.4, 1.0),
        lambda: ForkingTokens(0),
        lambda: PassAtKTraining(0),
        lambda: PKPO(0),
    ],
)
def test_impossible_hyper_parameters_are_refused(make):
    with pytest.raises(ValueError):
        make()
