"""Which methods keep how many of the tree's six rewarded paths: the paper's toy as a regression of a few seconds.

Means over five seeds at one step size. What the paper's figure says is told apart here with clear margins: GRPO ends
with one or two of the six paths, SimKO with about four at hardly less success, an entropy bonus strong enough to keep
more pays with success. The paper's "six of six at success 1.00" was not found: its step size, α and λ are not given.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from simko.trainers.objectives import SimKO, nsr, psr
from tree_table import GRPO, RIGHT, STATES, all_paths, kept, states, train

SEEDS = range(5)
STEPS = {"steps": 300, "rate": 1.0}


def means(objective, **settings):
    found = [train(objective, seed=seed, **STEPS, **settings) for seed in SEEDS]
    return float(np.mean([k.modes for k in found])), float(np.mean([k.success for k in found]))


def test_the_table_has_a_row_for_every_prefix():
    index = states(all_paths())
    assert sorted(set(index.flatten().tolist())) == list(range(STATES)) and STATES == 21
    assert len({tuple(row) for row in index[:, :3].tolist()}) == 16  # the last action leaves no state
    uniform = kept(torch.zeros(STATES, 4))
    assert uniform.success == pytest.approx(len(RIGHT) / 64) and uniform.modes == 0


@pytest.fixture(scope="module")
def grpo():
    return means(GRPO())


def test_grpo_finds_rewarded_paths_and_keeps_one_or_two(grpo):
    modes, success = grpo
    assert success > 0.97 and modes < 2.5


def test_simko_keeps_more_paths_at_hardly_less_success(grpo):
    modes, success = means(SimKO(alpha=0.3, k=3, tau=0.3, penalty=1.5))
    assert modes > grpo[0] + 1.2 and success > 0.95


def test_an_entropy_bonus_that_keeps_more_pays_with_success(grpo):
    modes, success = means(GRPO(), entropy=0.6)
    assert modes > grpo[0] + 1.5 and success < 0.9


@pytest.mark.parametrize("objective", [psr(), nsr()], ids=["psr", "nsr"])
def test_one_kind_of_answers_alone_keeps_no_more_than_grpo(grpo, objective):
    modes, success = means(objective)
    assert modes < grpo[0] + 0.8 and success > 0.9
