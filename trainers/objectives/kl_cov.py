"""KL-Cov: penalise the drift of the tokens whose log-probability goes along most with their advantage.

Source: arXiv 2505.22617, Eqs. 10-14; released code Entropy-Mechanism-of-RL `core_algos.py:426-518`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .covariance import token_covariance
from .objective import ScoredBatch, Surrogate, TokenObjective

_ROUNDING = 1e-5
"""A smaller |log π - log π_old| is two passes' float32 rounding, whose sign would be a random full-sized gradient."""


@dataclass(frozen=True)
class KLCov(TokenObjective):
    """Adds β·|log π - log π_old| to the loss of the fraction of tokens with the largest covariance.

    The method has no PPO clipping: train it with a clip range that never binds. The penalty has no gradient where the
    policy is still the old one, so it does nothing on the first mini-batch of a rollout batch.

    Attributes:
        ratio: fraction of the micro-batch's tokens that is penalised, at least one token.
        beta: weight of the penalty.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    ratio: float = 2e-3
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.ratio <= 1 and self.beta >= 0):
            raise ValueError(
                f"kl_cov_ratio must lie in (0, 1] and kl_cov_beta not be negative: {self.ratio}, {self.beta}"
            )

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities, and the penalty as an extra loss (B, T)."""
        covariance = token_covariance(batch.logprob, batch.advantages, batch.mask)
        count = max(1, int(int(batch.mask.sum()) * self.ratio))
        chosen = torch.zeros_like(batch.mask).flatten()
        chosen[covariance.masked_fill(~batch.mask, -torch.inf).flatten().topk(count).indices] = True
        chosen = chosen.view_as(batch.mask) & batch.mask
        drift = batch.logprob - batch.old_logprob
        penalty = self.beta * drift.abs() * (chosen & (drift.detach().abs() > _ROUNDING))
        return Surrogate(batch.logprob, batch.advantages, chosen, penalty)
