"""The paper's tree as a table of logits: the project's objectives in a plain loop, a second a method.

Source: arXiv 2510.14807v3, section 4.3 (its step size, α and λ are not given; ours are in `train`).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from scoring import ppo_loss, scored
from simko.trainers.objectives import Surrogate, TokenObjective
from simko.trainers.tasks.tree import ACTIONS, DEPTH, PATHS

N_ACTIONS = len(ACTIONS)
RIGHT = torch.tensor([[ACTIONS.index(action) for action in path.split()] for path in PATHS])
STATES = sum(N_ACTIONS**depth for depth in range(DEPTH))


class Kept(NamedTuple):
    """What a policy came to: its probability of a right path, and right paths of probability at least .05."""

    success: float
    modes: int


class GRPO(TokenObjective):
    """Nothing beside the advantages of the group."""

    def __call__(self, batch: Any) -> Surrogate:
        return Surrogate(batch.logprob, batch.advantages)


def states(paths: torch.Tensor) -> torch.Tensor:
    """(N, 3) index of the state that each action of a path is taken in."""
    offset, index, found = 0, torch.zeros(len(paths), dtype=torch.long), []
    for depth in range(DEPTH):
        found.append(offset + index)
        index = index * N_ACTIONS + paths[:, depth]
        offset += N_ACTIONS**depth
    return torch.stack(found, 1)


def kept(table: torch.Tensor) -> Kept:
    """The outcome of a policy, exactly."""
    logp = table.detach().log_softmax(-1)[states(RIGHT)].gather(-1, RIGHT[..., None])[..., 0].sum(1)
    return Kept(float(logp.exp().sum()), int((logp.exp() >= 0.05).sum()))


def train(
    objective: Any, *, seed: int, steps: int = 600, rate: float = 1.0, group: int = 32, entropy: float = 0.0
) -> Kept:
    """Plain gradient descent on a table of logits that starts near uniform, one group of responses a step."""
    random = torch.Generator().manual_seed(seed)
    table = (0.1 * torch.randn(STATES, N_ACTIONS, generator=random, dtype=torch.float64)).requires_grad_(True)
    mask = torch.ones(group, DEPTH, dtype=torch.bool)
    for _ in range(steps):
        paths = torch.empty(group, 0, dtype=torch.long)
        for depth in range(DEPTH):
            here = states(torch.cat([paths, paths.new_zeros(group, DEPTH - depth)], 1))[:, depth]
            p = table.detach().softmax(-1)[here]
            paths = torch.cat([paths, torch.multinomial(p, 1, generator=random)], 1)
        right = (paths[:, None] == RIGHT).all(-1).any(-1)
        rewards = right.double()
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        credit = objective.group_advantages(rewards[None], advantages[None])[0]
        logits = table[states(paths)]
        logp = logits.detach().log_softmax(-1).gather(-1, paths[..., None])[..., 0]
        batch = scored(logits, paths, mask, credit, right, max(objective.k, 1), logp)
        loss = ppo_loss(objective, batch) - entropy * batch.entropy.mean()
        (gradient,) = torch.autograd.grad(loss, table)
        with torch.no_grad():
            table -= rate * gradient
    return kept(table)


def all_paths() -> torch.Tensor:
    """(64, 3) every path."""
    return torch.tensor(list(itertools.product(range(N_ACTIONS), repeat=DEPTH)))
