"""SimKO: top-K label smoothing at the forks of right answers, a stronger rank-1 penalty at the forks of wrong ones.

Source: arXiv 2510.14807, Eqs. 3-5; released code CLR-Lab/SimKO `core_algos.py:329-434`. Forks are taken per response,
and "right" means judged right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from ...probes.forking import forking_mask
from .objective import ScoredBatch, Surrogate, TokenObjective


@dataclass(frozen=True)
class SimKO(TokenObjective):
    """The method with its hyper-parameters.

    With a = α on the forks of right answers (else 0), the surrogate's gradient is that of
    (1 - a)·log π(y) + a·Σ_k w_k log π(v⁽ᵏ⁾), i.e. the logits move along ẽ - π with ẽ = (1 - α)e_y + αΣ_k w_k e_{v⁽ᵏ⁾};
    its value stays log π(y), so ratios and clipping are GRPO's. A sampled token inside the top K is not excluded. The
    old policy's top-K log-probabilities cancel, so none are stored.

    Attributes:
        alpha: weight of the smoothing, in [0, 1]; 0 leaves right answers to GRPO.
        k: how many ranked candidates share it.
        tau: entropy quantile above which a token is a fork, in [0, 1]; 1 is GRPO.
        penalty: λ > 0, for rank-1 forking tokens of responses with negative advantage; 1 leaves them to GRPO.
        penalty_on: `advantage` multiplies the advantage by λ, as the released code does; `ratio` multiplies the
            probability ratio before clipping, as the paper writes. They differ only where λγ ≥ 1-ε > γ: the released
            code has no gradient there, the paper's form has.
        weighting: `uniform` gives each candidate 1/K; `softmax` the policy's own probability among the K, held
            constant (the variant of the paper's later version).
        warmup_steps: optimizer steps of plain GRPO before the method sets in.
        terms: `positive` leaves wrong answers to GRPO, `negative` right ones.

    Raises:
        ValueError: a hyper-parameter is outside its range.
    """

    alpha: float = 0.01
    k: int = 3
    tau: float = 0.8
    penalty: float = 1.1
    penalty_on: Literal["advantage", "ratio"] = "advantage"
    weighting: Literal["uniform", "softmax"] = "uniform"
    warmup_steps: int = 0
    terms: Literal["both", "positive", "negative"] = "both"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"simko_alpha must lie in [0, 1], got {self.alpha}")
        if not 0 <= self.tau <= 1:
            raise ValueError(f"simko_tau is a quantile in [0, 1], got {self.tau}")
        if self.k < 1:
            raise ValueError(f"simko_k must be at least 1, got {self.k}")
        if not 0 < self.penalty < math.inf:
            raise ValueError(f"simko_lambda must be positive (1 switches the penalty off), got {self.penalty}")
        if self.warmup_steps < 0:
            raise ValueError(f"simko_warmup_steps must not be negative, got {self.warmup_steps}")

    @property
    def num_candidates(self) -> int:
        """K."""
        return self.k

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """The surrogate log-probabilities (B, T) and per-token advantages (B, T)."""
        forking = forking_mask(batch.entropy, batch.mask, self.tau)
        if batch.step <= self.warmup_steps:
            return Surrogate(batch.logprob, batch.advantages, forking)
        dtype = batch.logprob.dtype
        alpha = 0.0 if self.terms == "negative" else self.alpha
        penalty = 1.0 if self.terms == "positive" else self.penalty
        smoothing = alpha * (forking & batch.right.unsqueeze(1)).to(dtype)
        # The difference, not a weighted sum: where nothing is smoothed the gradient is GRPO's to the last bit.
        pull = smoothing * (self._candidates(batch.top_logprob[..., : self.k]) - batch.logprob)
        logprob = batch.logprob + pull - pull.detach()
        advantages = batch.advantages.unsqueeze(1)
        penalised = (forking & (batch.rank == 1) & (advantages < 0)).to(dtype)
        if self.penalty_on == "ratio":
            return Surrogate(logprob + math.log(penalty) * penalised, batch.advantages, forking)
        return Surrogate(logprob, advantages * (1 + (penalty - 1) * penalised), forking)

    def _candidates(self, top_logprob: torch.Tensor) -> torch.Tensor:
        """(B, T) weighted mean of the candidates' log-probabilities."""
        if self.weighting == "uniform":
            return top_logprob.mean(-1)
        return (top_logprob.detach().softmax(-1) * top_logprob).sum(-1)
