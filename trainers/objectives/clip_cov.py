"""Clip-Cov: take a few tokens whose log-probability goes along with their advantage out of the loss.

Source: arXiv 2505.22617, Eqs. 11-12; released code Entropy-Mechanism-of-RL `core_algos.py:426-518`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .covariance import token_covariance
from .objective import ScoredBatch, Surrogate, TokenObjective


@dataclass(frozen=True)
class ClipCov(TokenObjective):
    """Takes a random few of the tokens with high covariance out of the loss; they stay in its normaliser.

    Attributes:
        ratio: fraction of the micro-batch's tokens taken out, at least one where there is a candidate.
        low, high: a candidate's covariance lies strictly between them.

    Tokens that the loss clips anyway, by its own ε, are no candidates.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    ratio: float = 2e-4
    low: float = 1.0
    high: float = 5.0

    def __post_init__(self) -> None:
        if not (0 < self.ratio <= 1 and self.low < self.high):
            raise ValueError(
                "clip_cov_ratio must lie in (0, 1] and clip_cov_low below clip_cov_high: "
                f"{self.ratio}, {self.low}, {self.high}"
            )

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities; advantages (B, T) that are 0 at the tokens taken out."""
        covariance = token_covariance(batch.logprob, batch.advantages, batch.mask)
        advantages = batch.advantages.unsqueeze(1).expand_as(batch.logprob)
        gamma = (batch.logprob - batch.old_logprob).detach().exp()
        clipped = (gamma > 1 + batch.epsilon_high) & (advantages > 0)
        clipped |= (gamma < 1 - batch.epsilon_low) & (advantages < 0)
        candidates = ((covariance > self.low) & (covariance < self.high) & batch.mask & ~clipped).flatten().nonzero()
        count = max(1, int(int(batch.mask.sum()) * self.ratio))
        order = torch.randperm(len(candidates), device=candidates.device)[:count]
        chosen = torch.zeros_like(batch.mask).flatten()
        chosen[candidates[order].flatten()] = True
        chosen = chosen.view_as(batch.mask)
        return Surrogate(batch.logprob, advantages * ~chosen, chosen)
