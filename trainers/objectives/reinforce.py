"""PSR, NSR and W-REINFORCE: learn from right answers alone, from wrong ones alone, or from both with unequal weight.

No baseline and no group normalisation: a group that is all wrong still teaches. PSR and NSR drop the other class, so
their token mean runs over the kept responses of the whole rollout batch, however it is split into micro-batches;
W-REINFORCE keeps both in one mean.

Source: arXiv 2506.01347, Eqs. 2-4 and 9; released code RLVR-Decomposed `core_algos.py:111-154`,
`ray_trainer.py:1191-1201`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

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
    rescales_token_mean: ClassVar[bool] = True
    """Under a loss that takes another mean than that over the batch's tokens it would be another method."""

    def __post_init__(self) -> None:
        if not (self.positive >= 0 and self.negative >= 0 and 0 < self.positive + self.negative < math.inf):
            raise ValueError(f"weights must be positive, got {self.positive} on right and {self.negative} on wrong")

    def group_advantages(self, rewards: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
        """The raw verdicts: reward 1 is right, anything less is wrong, NaN is unjudged."""
        right = (rewards >= 1).to(advantages.dtype)
        credit = self.positive * right - self.negative * (1 - right)
        return credit.masked_fill(rewards.isnan(), 0.0)

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities; advantages scaled so that a mean over all tokens runs over the kept responses'."""
        dtype = batch.logprob.dtype
        kept = torch.zeros((), dtype=torch.float64, device=batch.logprob.device)
        for weight, own, share in (
            (self.positive, batch.right, batch.right_share),
            (self.negative, batch.wrong, batch.wrong_share),
        ):
            if weight:
                kept = kept + (_share(batch.mask, own) if share is None else share)
        scale = torch.where(kept > 0, 1 / kept.clamp(min=1e-12), 0.0)
        return Surrogate(batch.logprob, batch.advantages * scale.to(dtype))


def _share(mask: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Scalar, the share of some responses (B,) in the tokens of the mask (B, T)."""
    return (mask & own.unsqueeze(1)).sum().double() / mask.sum().clamp(min=1)


def psr() -> Reinforce:
    """Positive sample reinforcement: right answers only."""
    return Reinforce(positive=1.0, negative=0.0)


def nsr() -> Reinforce:
    """Negative sample reinforcement: wrong answers only."""
    return Reinforce(positive=0.0, negative=1.0)


def w_reinforce(weight: float = 0.1) -> Reinforce:
    """Both, right answers with a small weight (0.1 in the paper)."""
    return Reinforce(positive=weight, negative=1.0)
