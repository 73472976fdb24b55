"""PSR, NSR and W-REINFORCE: learn from right answers alone, from wrong ones alone, or from both with unequal weight.

No baseline and no group normalisation: a group that is all wrong still teaches. PSR and NSR drop the other class, so
their token mean runs over the kept responses; W-REINFORCE keeps both in one mean.

Source: arXiv 2506.01347, Eqs. 2-4 and 9; released code RLVR-Decomposed `core_algos.py:111-154`,
`ray_trainer.py:1191-1201`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .objective import ScoredBatch, Surrogate, TokenObjective


@dataclass(frozen=True)
class Reinforce(TokenObjective):
    """Advantage `positive` on right responses, -`negative` on wrong ones, 0 on unjudged ones.

    Attributes:
        positive: weight of right responses; 0 drops them from the mean too.
        negative: weight of wrong responses; 0 drops them from the mean too.

    Raises:
        ValueError: a weight is negative, or both are 0.
    """

    positive: float
    negative: float

    def __post_init__(self) -> None:
        if not (self.positive >= 0 and self.negative >= 0 and 0 < self.positive + self.negative < math.inf):
            raise ValueError(f"weights must be positive, got {self.positive} on right and {self.negative} on wrong")

    def group_advantages(self, rewards: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
        """The raw verdicts: reward 1 is right, anything less is wrong, NaN is unjudged."""
        right = (rewards >= 1).to(advantages.dtype)
        credit = self.positive * right - self.negative * (1 - right)
        return credit.masked_fill(rewards.isnan(), 0.0)

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities; advantages scaled so that a token mean runs over the kept responses."""
        kept = (batch.right if self.positive else torch.zeros_like(batch.right)) | (
            batch.wrong if self.negative else torch.zeros_like(batch.wrong)
        )
        dtype = batch.logprob.dtype
        tokens = batch.mask.sum().to(dtype)
        kept_tokens = (batch.mask & kept.unsqueeze(1)).sum().clamp(min=1).to(dtype)
        return Surrogate(batch.logprob, batch.advantages * (tokens / kept_tokens))


def psr() -> Reinforce:
    """Positive sample reinforcement: right answers only."""
    return Reinforce(positive=1.0, negative=0.0)


def nsr() -> Reinforce:
    """Negative sample reinforcement: wrong answers only."""
    return Reinforce(positive=0.0, negative=1.0)


def w_reinforce(weight: float = 0.1) -> Reinforce:
    """Both, right answers with a small weight (0.1 in the paper)."""
    return Reinforce(positive=weight, negative=1.0)
