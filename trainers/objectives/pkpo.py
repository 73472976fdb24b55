"""PKPO: credit a response by its leave-one-out-minus-one weight in the group's max@k.

Replaces the group's advantages and leaves the tokens to the loss. Unjudged responses (NaN) count for nothing.
Source: arXiv 2505.15201, Eqs. 27-33.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .objective import GroupObjective


@dataclass(frozen=True)
class PKPO(GroupObjective):
    """The leave-one-out-minus-one gradient weight of the unbiased max@k estimator, for any rewards.

    s_i = (1/C(n, k)) Σ_{I∋i, |I|=k} (max_I g - max_{I∖i} g). For right-or-wrong rewards that is C(n-c, k-1)/C(n, k) on
    right responses and 0 on wrong ones. k = 1 is plain leave-one-out centring.

    Attributes:
        k: k, between 1 and the group's size.

    Raises:
        ValueError: k is below 1.

    Source: arXiv 2505.15201, Eqs. 27-33.
    """

    k: int = 4

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"pkpo_k must be at least 1, got {self.k}")

    def group_advantages(self, rewards: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
        """(P, G) credits from (P, G) rewards."""
        result = torch.zeros_like(advantages)
        for row, group in enumerate(rewards):
            judged = (~group.isnan()).nonzero().flatten()
            if len(judged) >= max(2, self.k):
                result[row, judged] = leave_one_out_minus_one(group[judged], self.k).to(result)
        return result


def leave_one_out_minus_one(rewards: torch.Tensor, k: int) -> torch.Tensor:
    """(n,) weights s_i for n rewards, n ≥ max(2, k), in O(n log n) after sorting; float64, on the CPU.

    In ascending order, a set whose maximum is i takes its other k-1 members from the i entries below; without i its
    maximum is the largest of those. Summed over sets, with 0-based positions j < i of that second largest:
    s_i = Σ_{j<i} C(j, k-2)·(g_i - g_j) / C(n, k).
    """
    n = len(rewards)
    # On the CPU: a group is small, and not every device has float64.
    g, order = rewards.cpu().double().sort()
    if k == 1:
        weights = (g - (g.sum() - g) / (n - 1)) / n
    else:
        ways = torch.tensor([math.comb(j, k - 2) / math.comb(n, k) for j in range(n)], dtype=g.dtype, device=g.device)
        below = torch.cat([ways.new_zeros(1), ways.cumsum(0)[:-1]])
        below_weighted = torch.cat([ways.new_zeros(1), (ways * g).cumsum(0)[:-1]])
        weights = g * below - below_weighted
    result = torch.empty_like(g)
    result[order] = weights
    return result
