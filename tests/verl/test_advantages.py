"""The estimator on the driver: groups of any size, in any order, and rewards nobody could judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from simko.store.errors import UsageError
from simko.trainers.verl.advantages import group_advantages
from simko.trainers.verl.settings import SETTINGS, Settings
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

INDEX = np.array(["a", "b", "a", "b", "a", "c"], dtype=object)
REWARDS = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0])
MASK = torch.tensor([[1, 1, 0]] * 5 + [[1, 0, 0]])


@pytest.fixture
def ask(monkeypatch):
    return lambda **settings: monkeypatch.setenv(SETTINGS, Settings(**settings).environment()[SETTINGS])


def per_token(rewards):
    result = torch.zeros(len(rewards), 3)
    result[:, 0] = rewards
    return result


def test_token_methods_have_grpo_s_advantages(ask):
    ask(method="simko")
    advantages, returns = group_advantages(per_token(REWARDS), MASK, INDEX)
    expected, _ = compute_grpo_outcome_advantage(per_token(REWARDS), MASK, INDEX)
    assert torch.allclose(advantages, expected)
    assert torch.equal(returns, REWARDS.unsqueeze(1) * MASK)
    unscaled, _ = group_advantages(per_token(REWARDS), MASK, INDEX, config={"norm_adv_by_std_in_grpo": False})
    assert unscaled[:, 0].tolist() == pytest.approx([1 / 3, 0, -2 / 3, 0, 1 / 3, 1])


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("psr", {}, [1, 0, 0, 0, 1, 1]),
        ("nsr", {}, [0, -1, -1, -1, 0, 0]),
        ("w_reinforce", {"w_reinforce_lambda": 0.5}, [0.5, -1, -1, -1, 0.5, 0.5]),
        ("pkpo", {"pkpo_k": 2}, [1 / 3, 0, 0, 0, 1 / 3, 0]),  # C(1, 1)/C(3, 2) on right ones
    ],
)
def test_group_methods_credit_each_group(method, options, expected, ask):
    ask(method=method, options=options)
    advantages, _ = group_advantages(per_token(REWARDS), MASK, INDEX)
    assert advantages[:, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert (advantages * (1 - MASK) == 0).all()


def test_what_could_not_be_judged_has_no_advantage_and_moves_no_mean(ask):
    rewards = REWARDS.clone()
    rewards[4] = torch.nan
    for method in ("simko", "w_reinforce"):
        ask(method=method)
        advantages, returns = group_advantages(per_token(rewards), MASK, INDEX)
        assert advantages.isfinite().all() and returns.isfinite().all()
        assert (advantages[4] == 0).all()
    ask(method="simko")
    advantages, _ = group_advantages(per_token(rewards), MASK, INDEX)
    alone, _ = compute_grpo_outcome_advantage(per_token(REWARDS[[0, 2]]), MASK[[0, 2]], INDEX[[0, 2]])
    assert torch.allclose(advantages[[0, 2]], alone)


def test_a_kl_penalty_in_the_rewards_is_refused(ask):
    ask(method="simko")
    with pytest.raises(UsageError, match="use_kl_in_reward"):
        group_advantages(per_token(REWARDS), MASK, INDEX, config={"use_kl_in_reward": True})
