"""80/20: train on the tokens of highest entropy alone (arXiv 2506.01939, Eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .objective import ScoredBatch, Surrogate, TokenObjective


@dataclass(frozen=True)
class ForkingTokens(TokenObjective):
    """80/20: the loss and its normaliser run over the tokens of highest entropy alone.

    A token is kept when H_t ≥ the (1 - ρ)-quantile over all valid tokens of the micro-batch (SimKO's rule is per
    response and strict). TRL's `top_entropy_quantile` keeps the full normaliser instead, a five times smaller loss.

    Attributes:
        rho: share of tokens kept, in (0, 1].

    Raises:
        ValueError: ρ is outside its range.

    Source: arXiv 2506.01939, Eq. 6.
    """

    rho: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.rho <= 1:
            raise ValueError(f"forking_tokens_rho must lie in (0, 1], got {self.rho}")

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities; advantages (B, T) scaled so that a token mean runs over the kept tokens."""
        entropy = batch.entropy.detach()
        if not batch.mask.any():
            return Surrogate(batch.logprob, batch.advantages)
        kept = batch.mask & (entropy >= _quantile(entropy[batch.mask], 1 - self.rho))
        scale = batch.mask.sum().to(entropy.dtype) / kept.sum()
        return Surrogate(batch.logprob, batch.advantages.unsqueeze(1) * kept * scale, kept)


def _quantile(values: torch.Tensor, q: float) -> torch.Tensor:
    """Linear-interpolation quantile by sorting: `torch.quantile` refuses more than 16 million values."""
    ordered = values.sort().values
    place = q * (len(ordered) - 1)
    low = int(place)
    return torch.lerp(ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low)
