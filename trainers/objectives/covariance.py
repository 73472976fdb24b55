"""The covariance of a token's log-probability with its advantage, by which KL-Cov and Clip-Cov choose tokens.

Source: arXiv 2505.22617, Eq. 10; released code Entropy-Mechanism-of-RL `core_algos.py:426-518`.
"""

from __future__ import annotations

import torch


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
