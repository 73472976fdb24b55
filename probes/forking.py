"""Which tokens are forking tokens: those whose entropy lies above a quantile of their own response."""

from __future__ import annotations

import torch

RULE = (
    "H > the τ-quantile (linear interpolation) of the entropies of the response's counted tokens, strictly; τ = {tau:g}"
)
"""The rule in words, for `run.json`."""


def forking_mask(entropy: torch.Tensor, mask: torch.Tensor, tau: float) -> torch.Tensor:
    """Tokens whose entropy is strictly above the τ-quantile of their response.

    The quantile is taken per response over its counted tokens, interpolated linearly as in `torch.quantile`; padding
    never moves it. τ = 1 gives no forking tokens, τ = 0 all but those of minimal entropy.

    Args:
        entropy: (B, T) entropies in nats; values outside the mask are ignored, whatever they are.
        mask: (B, T), the counted tokens.
        tau: quantile level in [0, 1].

    Returns:
        (B, T) bool, without gradient.

    Raises:
        ValueError: τ is outside [0, 1] or the shapes differ.

    Source: "Beyond the Sampled Token" (arXiv 2510.14807v3) §4 and App. E.1; the released code, `core_algos.py:317-326`.
    """
    if not 0 <= tau <= 1:
        raise ValueError(f"tau is a quantile level in [0, 1], not {tau}")
    if entropy.shape != mask.shape:
        raise ValueError(f"entropy {tuple(entropy.shape)} and mask {tuple(mask.shape)} must have the same shape")
    mask = mask.bool()
    if entropy.size(1) == 0:
        return mask
    entropy = entropy.detach()
    # Sorted by hand rather than with torch.nanquantile, which has a limit on the number of elements.
    ascending = entropy.masked_fill(~mask, torch.inf).sort(dim=1).values
    last = (mask.sum(1, keepdim=True) - 1).clamp(min=0)
    place = last.to(widest_float(entropy.device)) * tau
    low = place.floor().long()
    high = torch.minimum(low + 1, last)
    below, above = ascending.gather(1, low), ascending.gather(1, high)
    threshold = torch.lerp(below, above, (place - low).to(entropy.dtype))
    return mask & (entropy > threshold)


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on devices that have no wider one (Apple's MPS)."""
    return torch.float32 if device.type == "mps" else torch.float64
