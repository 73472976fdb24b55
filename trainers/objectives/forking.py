"""Which tokens are forks: the entropy quantile rule of SimKO."""

from __future__ import annotations

import torch


def forking_mask(entropy: torch.Tensor, mask: torch.Tensor, tau: float) -> torch.Tensor:
    """Tokens whose entropy is strictly above the τ-quantile of their own response.

    The quantile runs over the response's counted tokens with linear interpolation, so padding never moves it. τ = 1
    selects nothing (the method is then GRPO), τ = 0 all but the tokens of minimal entropy. A response without counted
    tokens has no forks.

    Args:
        entropy: (B, T) nats; the values at masked positions are ignored, NaN included.
        mask: (B, T) bool.
        tau: quantile in [0, 1].

    Returns:
        (B, T) bool.

    Source: SimKO §4 ("within the response"); CLR-Lab/SimKO `core_algos.py:317-326`.
    """
    mask = mask.bool()
    threshold = entropy.detach().masked_fill(~mask, float("nan")).nanquantile(tau, dim=1, keepdim=True)
    return mask & (entropy.detach() > threshold)
