"""Pass@k Training: credit a response by the analytic advantage of its group's pass@k.

Replaces the group's advantages and leaves the tokens to the loss. Unjudged responses (NaN) count for nothing.
Source: arXiv 2508.10751, Eqs. 11-15; released code Passk_Training `passk_adv.py:10-19`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .objective import GroupObjective


@dataclass(frozen=True)
class PassAtKTraining(GroupObjective):
    """The analytic advantage of drawing k of the n responses at random.

    With c of n right, n₋ = n - c, C(a, b) = 0 for a < b: R̄ = 1 - C(n₋, k)/C(n, k), σ = √(R̄(1 - R̄)),
    A₊ = (1 - R̄)/σ, A₋ = (1 - R̄ - C(n₋-1, k-1)/C(n-1, k-1))/σ; all 0 where R̄ is 0 or 1.

    Attributes:
        k: k, between 1 and the group's size.

    Raises:
        ValueError: k is below 1.

    Source: arXiv 2508.10751, Eqs. 11-15; released code Passk_Training `passk_adv.py:10-19`.
    """

    k: int = 4

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"passk_training_k must be at least 1, got {self.k}")

    def group_advantages(self, rewards: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
        """(P, G) credits from (P, G) rewards; 1 is right."""
        result = torch.zeros_like(advantages)
        for row, group in enumerate(rewards):
            judged = ~group.isnan()
            n, c, k = int(judged.sum()), int((group >= 1).sum()), self.k
            if k > n:
                continue
            none_right = math.comb(n - c, k) / math.comb(n, k)
            if none_right in (0.0, 1.0):
                continue
            sigma = math.sqrt(none_right * (1 - none_right)) + 1e-6
            others_fail = math.comb(n - c - 1, k - 1) / math.comb(n - 1, k - 1)
            right = none_right / sigma
            wrong = (none_right - others_fail) / sigma
            credit = wrong + (right - wrong) * (group >= 1).to(result.dtype)
            result[row] = credit.masked_fill(~judged, 0.0)
        return result
