"""A tree of depth three whose whole policy is a table: success and modes are sums, not samples.

Four actions at each of 1 + 4 + 16 prefixes; six of the 64 paths are right. From arXiv 2510.14807v3 §4.3, which gives
neither step size, group size, α nor λ.
"""

from __future__ import annotations

from typing import Any

import torch
from scoring import ppo_loss, scored
from simko.trainers.objectives import GroupObjective, TokenObjective

_RIGHT = ("ACD", "ACB", "BDC", "BDA", "CAB", "DBA")
PATHS = torch.tensor([["ABCD".index(action) for action in path] for path in _RIGHT])
"""(6, 3) the right ones."""


class GRPO(TokenObjective, GroupObjective):
    """No objective: GRPO's credits and plain log-probabilities."""


def prefixes(paths: torch.Tensor) -> torch.Tensor:
    """(…, 3) rows of the table that paths (…, 3) pass through."""
    first, second = paths[..., 0], paths[..., 1]
    return torch.stack([torch.zeros_like(first), 1 + first, 5 + 4 * first + second], -1)


def chances(table: torch.Tensor) -> torch.Tensor:
    """(P, 6) exact probability of each right path under policies (P, 21, 4)."""
    return table.detach().log_softmax(-1)[:, prefixes(PATHS), PATHS].sum(-1).exp()


def sample(table: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
    """(P, n, 3) paths, n of each policy."""
    probability = table.detach().softmax(-1)
    paths = torch.zeros(len(table), n, 3, dtype=torch.long)
    tree = torch.arange(len(table)).unsqueeze(1)
    for depth in range(3):
        at = probability[tree, prefixes(paths)[..., depth]]
        paths[..., depth] = torch.multinomial(at.flatten(0, 1), 1, generator=generator).view(len(table), n)
    return paths


def train(
    objective: Any = None,
    *,
    seed: int,
    trees: int = 16,
    steps: int = 300,
    group_size: int = 32,
    learning_rate: float = 0.05,
    entropy_coef: float = 0.0,
) -> torch.Tensor:
    """(P, 6) probabilities of the right paths after training on-policy with Adam from the uniform policy.

    Args:
        objective: the method; None is GRPO.
        seed: of the sampling.
        trees: P trees, each with a policy of its own: prompts whose answers teach nothing about each other, and so as
            many independent runs.
        steps: rollout batches of one group a tree, and optimizer steps.
        group_size: responses in a group.
        learning_rate: of Adam.
        entropy_coef: weight of the mean entropy in the loss.
    """
    objective = objective or GRPO()
    generator = torch.Generator().manual_seed(seed)
    table = torch.zeros(trees, 21, 4, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([table], lr=learning_rate)
    mask = torch.ones(trees * group_size, 3, dtype=torch.bool)
    tree = torch.arange(trees).view(-1, 1, 1)
    for _ in range(steps):
        paths = sample(table, group_size, generator)
        rewards = (paths.unsqueeze(2) == PATHS).all(-1).any(-1).double()
        grpo = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-6)
        advantages = objective.group_advantages(rewards, grpo).flatten()
        logits, token = table[tree, prefixes(paths)].flatten(0, 1), paths.flatten(0, 1)
        old = logits.detach().log_softmax(-1).gather(-1, token.unsqueeze(-1)).squeeze(-1)
        batch = scored(logits, token, mask, advantages, rewards.flatten() == 1, objective.num_candidates, old)
        loss = ppo_loss(objective, batch) - entropy_coef * batch.entropy.mean()
        adam.zero_grad()
        (trees * loss).backward()  # each tree's own mean, whatever their number: Adam's ε is not scale-free
        adam.step()
    return chances(table)
