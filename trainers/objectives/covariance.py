"""KL-Cov and Clip-Cov: restrain the tokens whose log-probability goes along with their advantage.

Cov_t = (log π_t - mean log π)(A_t - mean A) over the valid tokens of the micro-batch, log-probabilities detached.

Source: arXiv 2505.22617, Eqs. 10-14; released code Entropy-Mechanism-of-RL `core_algos.py:426-518`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .objective import ScoredBatch, Surrogate, TokenObjective

_ROUNDING = 1e-5
"""A smaller |log π - log π_old| is two passes' float32 rounding, whose sign would be a random full-sized gradient."""


def token_covariance(logprob: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, T) Cov_t (Eq. 10); 0 outside the mask.

    Args:
        logprob: (B, T).
        advantages: (B,) one a response.
        mask: (B, T) bool.
    """
    advantages = advantages.unsqueeze(1).expand_as(logprob)
    count = mask.sum().clamp(min=1)
    logprob = logprob.detach()
    mean_logprob = (logprob * mask).sum() / count
    mean_advantage = (advantages * mask).sum() / count
    return (logprob - mean_logprob) * (advantages - mean_advantage) * mask


@dataclass(frozen=True)
class KLCov(TokenObjective):
    """Adds β·|log π - log π_old| to the loss of the share of tokens with the largest covariance.

    The method has no PPO clipping: train it with a clip range that never binds. The penalty has no gradient where the
    policy is still the old one, so it does nothing on the first mini-batch of a rollout batch.

    Attributes:
        share: fraction of the micro-batch's tokens that is penalised, at least one token.
        beta: weight of the penalty.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    share: float = 2e-3
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.beta < 0:
            raise ValueError(
                f"kl_cov_ratio must lie in (0, 1] and kl_cov_beta not be negative: {self.share}, {self.beta}"
            )

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities, and the penalty as an extra loss (B, T)."""
        covariance = token_covariance(batch.logprob, batch.advantages, batch.mask)
        count = max(1, int(int(batch.mask.sum()) * self.share))
        chosen = torch.zeros_like(batch.mask).flatten()
        chosen[covariance.masked_fill(~batch.mask, -torch.inf).flatten().topk(count).indices] = True
        chosen = chosen.view_as(batch.mask) & batch.mask
        drift = batch.logprob - batch.old_logprob
        penalty = self.beta * drift.abs() * (chosen & (drift.detach().abs() > _ROUNDING))
        return Surrogate(batch.logprob, batch.advantages, chosen, penalty)


@dataclass(frozen=True)
class ClipCov(TokenObjective):
    """Takes a random few of the tokens with high covariance out of the loss; they stay in its normaliser.

    Attributes:
        share: fraction of the micro-batch's tokens taken out, at least one where there is a candidate.
        low, high: a candidate's covariance lies strictly between them.
        clip: tokens whose ratio lies outside 1 ± clip in the direction of their advantage are no candidates.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    share: float = 2e-4
    low: float = 1.0
    high: float = 5.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.low >= self.high:
            raise ValueError(
                "clip_cov_ratio must lie in (0, 1] and clip_cov_low below clip_cov_high: "
                f"{self.share}, {self.low}, {self.high}"
            )

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities; advantages (B, T) that are 0 at the tokens taken out."""
        covariance = token_covariance(batch.logprob, batch.advantages, batch.mask)
        advantages = batch.advantages.unsqueeze(1).expand_as(batch.logprob)
        ratio = (batch.logprob - batch.old_logprob).detach().exp()
        clipped = ((ratio > 1 + self.clip) & (advantages > 0)) | ((ratio < 1 - self.clip) & (advantages < 0))
        candidates = ((covariance > self.low) & (covariance < self.high) & batch.mask & ~clipped).flatten().nonzero()
        count = max(1, int(int(batch.mask.sum()) * self.share))
        order = torch.randperm(len(candidates), device=candidates.device)[:count]
        chosen = torch.zeros_like(batch.mask).flatten()
        chosen[candidates[order].flatten()] = True
        chosen = chosen.view_as(batch.mask)
        return Surrogate(batch.logprob, advantages * ~chosen, chosen)
