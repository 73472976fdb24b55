"""What the methods do to a policy that has six right answers: the paper's picture on its tree of depth three.

SimKO keeps all six here with smoothing at every fork (τ = 0), over all four actions, and α = .6. With the α, K and τ of
a language model (.01 to .1, 3, .5) it cannot be told from GRPO on a tree; nor does this say that an entropy bonus must
fail: one a fifth as strong keeps the modes too.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from simko.trainers.objectives import KLCov, SimKO, nsr, psr
from tree_tables import PATHS, chances, prefixes, sample, train

METHODS = {
    "grpo": (None, 0.0),
    "entropy_loss": (None, 1.0),
    "simko_weak": (SimKO(alpha=0.3, k=4, tau=0.0, penalty=1.1), 0.0),
    "simko": (SimKO(alpha=0.6, k=4, tau=0.0, penalty=1.1), 0.0),
    "psr": (psr(), 0.0),
    "nsr": (nsr(), 0.0),
}


@pytest.fixture(scope="module")
def trained():
    """Right paths' probabilities (16 independent runs, 6) by method."""
    return {name: train(objective, seed=0, entropy_coef=coef) for name, (objective, coef) in METHODS.items()}


def success(chance):
    return chance.sum(1)


def modes(chance):
    """(P,) paths that a run still takes once in twenty times."""
    return (chance >= 0.05).sum(1).double()


def test_grpo_succeeds_by_two_of_six_ways(trained):
    assert success(trained["grpo"]).min() > 0.98
    assert modes(trained["grpo"]).mean() < 3
    assert modes(trained["grpo"]).max() < 6


def test_simko_succeeds_by_all_of_them(trained):
    assert success(trained["simko"]).min() > 0.98
    assert modes(trained["simko"]).min() >= 5
    assert modes(trained["simko"]).mean() > modes(trained["grpo"]).mean() + 2.5


def test_the_stronger_the_smoothing_the_more_modes(trained):
    by_strength = [modes(trained[name]).mean() for name in ("grpo", "simko_weak", "simko")]
    assert all(more > fewer + 0.5 for fewer, more in itertools.pairwise(by_strength))
    assert success(trained["simko_weak"]).min() > 0.98


def test_a_strong_entropy_bonus_keeps_the_modes_and_loses_the_answers(trained):
    """The paper: six modes at a success of .48."""
    assert modes(trained["entropy_loss"]).min() >= 5
    assert success(trained["entropy_loss"]).mean().item() == pytest.approx(0.48, abs=0.05)


@pytest.mark.parametrize("method", ["psr", "nsr"])
def test_one_class_of_answers_is_enough_to_succeed_and_not_to_keep_the_modes(method, trained):
    assert success(trained[method]).min() > 0.95
    assert modes(trained[method]).mean() < 4


def test_kl_cov_is_grpo_where_no_rollout_batch_is_used_twice():
    """Its penalty has no gradient while the policy is the old one: not a bit of the table differs."""
    settings = {"seed": 0, "trees": 4, "steps": 20}
    assert torch.equal(train(KLCov(0.2), **settings), train(None, **settings))


def test_the_tree_is_the_papers():
    """Exact sums and samples of a random table agree with its 64 paths multiplied out."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(1, 21, 4, dtype=torch.float64, generator=generator)
    every = torch.tensor([*itertools.product(range(4), repeat=3)])
    assert len(set(map(tuple, prefixes(every).tolist()))) == 16
    probability = table[0].softmax(-1)
    of_path = {tuple(p.tolist()): probability[prefixes(p), p].prod() for p in every}
    assert sum(of_path.values()).item() == pytest.approx(1)
    torch.testing.assert_close(chances(table)[0], torch.stack([of_path[tuple(p)] for p in PATHS.tolist()]))
    drawn = sample(table, 20_000, generator)[0]
    share = torch.stack([(drawn == path).all(1).double().mean() for path in PATHS])
    assert (share - chances(table)[0]).abs().max() < 0.01  # three standard errors of a chance of .3
