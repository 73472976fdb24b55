"""SimKO against float64 vectors: loss and gradient with respect to the logits, and the method's invariants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import loss_and_gradient, scored
from simko.probes.forking import forking_mask
from simko.trainers.objectives import SimKO

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "simko.json").read_text())
SINGLE_LOGITS = [2.0, 1.0, 0.5, 0.0, -1.0]


# Every single-token case is a fork: entropy 1.2 nats is above the quantile of a response that also holds a sure token,
# which is masked out of the loss by a zero advantage instead of the mask (the mask would move the quantile).
@pytest.mark.parametrize(
    "name",
    [name for name in VECTORS if name.split("_")[0] in set("ABCDEFGHIJ")],
)
def test_single_token_vectors(name):
    case = VECTORS[name]
    logits = torch.tensor([[SINGLE_LOGITS, [50.0, 0, 0, 0, 0]]], dtype=torch.float64, requires_grad=True)
    token = torch.tensor([[case["y"], 0]])
    objective = SimKO(alpha=case["alpha"], k=case["K"], tau=0.5, penalty=case["lam"], penalty_on=case["lam_where"])
    advantage = torch.tensor([case["adv"]], dtype=torch.float64)
    mask = torch.ones(1, 2, dtype=torch.bool)
    old = torch.tensor([[case["old_logp"], 0.0]], dtype=torch.float64)
    batch = scored(logits, token, mask, advantage, advantage > 0, case["K"], old)
    surrogate = objective(batch)
    ratio = (surrogate.logprob[0, 0] - case["old_logp"]).exp()
    adv = surrogate.advantages.flatten()[0]
    loss = -torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv)
    gradient = torch.autograd.grad(loss, logits)[0][0, 0]
    assert loss.item() == pytest.approx(case["loss"], abs=1e-9)
    torch.testing.assert_close(gradient, torch.tensor(case["grad"], dtype=torch.float64), atol=1e-9, rtol=0)


BATCH = VECTORS["batch"]
LOGITS = torch.tensor(BATCH["logits"], dtype=torch.float64)
TOKEN = torch.tensor(BATCH["y"])
MASK = torch.tensor(BATCH["mask"]).bool()
OLD = torch.tensor(BATCH["old_logp"], dtype=torch.float64)
ADVANTAGES = torch.tensor(VECTORS["grpo_adv_n8"]["3"], dtype=torch.float64)
RIGHT = torch.tensor([True, False])


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("batch_grpo_tokenmean", SimKO(alpha=0.0, k=3, tau=0.5, penalty=1.0)),
        ("batch_grpo_tokenmean", SimKO(alpha=0.3, k=3, tau=1.0, penalty=1.5)),
        ("batch_simko_a0.01_K3_tau0.5_lam1.1", SimKO(alpha=0.01, k=3, tau=0.5, penalty=1.1)),
        ("batch_simko_a0.3_K3_tau0.5_lam1.5", SimKO(alpha=0.3, k=3, tau=0.5, penalty=1.5)),
    ],
)
def test_batch_vectors(name, objective):
    loss, gradient = loss_and_gradient(objective, LOGITS, TOKEN, OLD, MASK, ADVANTAGES, RIGHT)
    assert loss.item() == pytest.approx(VECTORS[name]["loss"], abs=1e-9)
    torch.testing.assert_close(gradient, torch.tensor(VECTORS[name]["grad"], dtype=torch.float64), atol=1e-9, rtol=0)
    assert gradient.norm().item() == pytest.approx(VECTORS[name]["grad_l2"], abs=1e-9)


def test_forks_follow_the_strict_per_response_quantile():
    entropy = -(LOGITS.softmax(-1) * LOGITS.log_softmax(-1)).sum(-1)
    assert forking_mask(entropy, MASK, 0.5).int().tolist() == VECTORS["simko_fork_mask"]
    assert not forking_mask(entropy, MASK, 1.0).any()
    assert forking_mask(entropy, MASK, 0.0).sum(1).tolist() == [3, 2]  # all but the minimum
    assert not forking_mask(entropy, torch.zeros_like(MASK), 0.5).any()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), tau=st.floats(0, 1), padding=st.integers(1, 4))
def test_padding_never_moves_a_threshold(seed, tau, padding):
    entropy = torch.rand(3, 5, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(3, 5, dtype=torch.bool)
    padded = torch.cat([entropy, torch.full((3, padding), float("nan"))], 1)
    padded_mask = torch.cat([mask, torch.zeros(3, padding, dtype=torch.bool)], 1)
    assert torch.equal(forking_mask(padded, padded_mask, tau)[:, :5], forking_mask(entropy, mask, tau))
    assert not forking_mask(padded, padded_mask, tau)[:, 5:].any()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), alpha=st.floats(0, 1), tau=st.floats(0, 1), penalty=st.floats(1, 2))
def test_logit_gradients_sum_to_zero_and_the_value_is_grpos(seed, alpha, tau, penalty):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 5, 7, dtype=torch.float64, generator=generator)
    token = torch.randint(7, (3, 5), generator=generator)
    old = logits.log_softmax(-1).gather(-1, token.unsqueeze(-1)).squeeze(-1)
    advantages = torch.randn(3, dtype=torch.float64, generator=generator)
    mask = torch.ones(3, 5, dtype=torch.bool)
    objective = SimKO(alpha=alpha, k=4, tau=tau, penalty=penalty)
    batch = scored(logits, token, mask, advantages, advantages > 0, 4, old)
    torch.testing.assert_close(objective(batch).logprob, batch.logprob, atol=1e-12, rtol=0)
    _, gradient = loss_and_gradient(objective, logits, token, old, mask, advantages, advantages > 0)
    assert gradient.sum(-1).abs().max() < 1e-12


@pytest.mark.parametrize("bad", [{"alpha": -0.1}, {"alpha": 1.1}, {"tau": 2.0}, {"k": 0}, {"penalty": 0.0}])
def test_impossible_hyper_parameters_are_refused(bad):
    with pytest.raises(ValueError, match="simko_"):
        SimKO(**bad)
