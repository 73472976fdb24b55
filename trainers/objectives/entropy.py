"""Methods that read the token entropy: Entropy-Adv adds to the advantage, 80/20 trains on forking tokens only."""

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
        if self.alpha < 0 or self.kappa <= 1:
            raise ValueError(
                f"entropy_adv_alpha must not be negative and entropy_adv_kappa be above 1: {self.alpha}, {self.kappa}"
            )

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities and advantages (B, T)."""
        advantages = batch.advantages.unsqueeze(1)
        bonus = torch.minimum(self.alpha * batch.entropy.detach(), advantages.abs() / self.kappa)
        return Surrogate(batch.logprob, advantages + bonus)


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
