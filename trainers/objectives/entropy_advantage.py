"""Entropy-Adv: add a bounded part of the token entropy to the advantage (arXiv 2506.14758, Eqs. 4-6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .objective import ScoredBatch, Surrogate, TokenObjective


@dataclass(frozen=True)
class EntropyAdvantage(TokenObjective):
    """A'_t = A + min(α·H_t, |A|/κ), the entropy held constant.

    For κ > 1 no advantage changes its sign; a negative one is made milder, a zero one stays zero.

    Attributes:
        alpha: weight of the entropy (0.4 for GRPO in the paper).
        kappa: bound, as a fraction of |A|.

    Raises:
        ValueError: a hyper-parameter is outside its range.

    Source: arXiv 2506.14758, Eqs. 4-6.
    """

    alpha: float = 0.4
    kappa: float = 2.0

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.kappa > 1):
            raise ValueError(
                f"entropy_adv_alpha must not be negative and entropy_adv_kappa be above 1: {self.alpha}, {self.kappa}"
            )

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities and advantages (B, T)."""
        advantages = batch.advantages.unsqueeze(1)
        bonus = torch.minimum(self.alpha * batch.entropy.detach(), advantages.abs() / self.kappa)
        return Surrogate(batch.logprob, advantages + bonus)
