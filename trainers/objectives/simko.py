"""SimKO: top-K label smoothing at the forks of right answers, a stronger rank-1 penalty at the forks of wrong ones.

Source: arXiv 2510.14807, Eqs. 3-5; released code CLR-Lab/SimKO `core_algos.py:329-434`. As in the released code the
penalty λ multiplies the advantage (the paper multiplies the ratio; the two differ only where λγ ≥ 1-ε > γ), forks are
taken per response, and "right" means judged right.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...probes.forking import forking_mask
from .batch import ScoredBatch, Surrogate


@dataclass(frozen=True)
class SimKO:
    """The method with its hyper-parameters.

    With a = α on the forks of right answers (else 0), the surrogate's gradient is that of
    (1 - a)·log π(y) + (a/K)·Σ_k log π(v⁽ᵏ⁾), i.e. the logits move along ẽ - π with ẽ = (1 - α)e_y + (α/K)Σ_k e_{v⁽ᵏ⁾};
    its value stays log π(y), so ratios and clipping are GRPO's. A sampled token inside the top K is not excluded. The
    old policy's top-K log-probabilities cancel, so none are stored.

    Attributes:
        alpha: weight of the smoothing, in [0, 1]; 0 leaves right answers to GRPO.
        k: how many ranked candidates share it.
        tau: entropy quantile above which a token is a fork, in [0, 1]; 1 is GRPO.
        penalty: λ ≥ 1, factor on the advantage of rank-1 forking tokens of responses with negative advantage.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    alpha: float = 0.01
    k: int = 3
    tau: float = 0.8
    penalty: float = 1.1

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"simko_alpha must lie in [0, 1], got {self.alpha}")
        if not 0 <= self.tau <= 1:
            raise ValueError(f"simko_tau is a quantile in [0, 1], got {self.tau}")
        if self.k < 1:
            raise ValueError(f"simko_k must be at least 1, got {self.k}")
        if self.penalty <= 0:
            raise ValueError(f"simko_lambda must be positive (1 switches the penalty off), got {self.penalty}")

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """The surrogate log-probabilities (B, T) and per-token advantages (B, T)."""
        forking = forking_mask(batch.entropy, batch.mask, self.tau)
        smoothing = self.alpha * (forking & batch.right.unsqueeze(1)).to(batch.logprob.dtype)
        top_mean = batch.top_logprob[..., : self.k].mean(-1)
        # The difference, not a weighted sum: where nothing is smoothed the gradient is GRPO's to the last bit.
        pull = smoothing * (top_mean - batch.logprob)
        logprob = batch.logprob + pull - pull.detach()
        advantages = batch.advantages.unsqueeze(1)
        penalised = forking & (batch.rank == 1) & (advantages < 0)
        advantages = advantages * (1 + (self.penalty - 1) * penalised.to(batch.logprob.dtype))
        return Surrogate(logprob, advantages, forking)
