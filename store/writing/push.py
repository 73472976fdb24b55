"""The push: how a loss moves log p(rank k) and the entropy at each token, to first order in the logits.

A step of size ε along minus the loss's gradient at one token's logits moves them by ε·(w(ẽ - p) + h·∂H/∂x), hence
log p(v⁽ᵏ⁾) by ε·push_k and the entropy by ε·entropy_push:

    push_k = w·(ẽ_k - p_k - Σ_v p_v ẽ_v + Σ_v p_v²) + h·(Σ_v p_v² log p_v + H·Σ_v p_v² - p_k·(log p_k + H))
    entropy_push = w·(Σ_v p_v² log p_v + H·Σ_v p_v² - Σ_v ẽ_v p_v (log p_v + H)) + h·Σ_v p_v² (log p_v + H)²

All of it is logged anyway. The derivation and its limit are in `docs/metrics.md`; `sql/token_push.sql` and
`sql/token_entropy_push.sql` are the same formulas on token rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .batch import Array, Credit, TokenBatch


def push_on_ranks(batch: TokenBatch, k: int) -> Array | None:
    """(B, T, k) push on the log-probability of ranks 1..k, float64; None where the batch has no credit.

    NaN where the target reaches beyond the ranks the batch holds, or Σ p² log p is missing for an entropy bonus.
    """
    credit = batch.credit
    if credit is None or batch.collision is None or batch.entropy is None:
        return None
    ranks = _Ranks.of(batch, credit)
    sampled = batch.top_id == batch.token_id[..., None]
    target = (1 - ranks.smoothing)[..., None] * sampled + ranks.smoothing[..., None] * ranks.share
    overlap = ranks.expected(np.exp(batch.logprob.astype(np.float64)), ranks.p)
    collision = batch.collision.astype(np.float64)
    weight = credit.weight.astype(np.float64)[..., None]
    push: Array = weight * (target - ranks.p + (collision - overlap)[..., None])
    if credit.entropy_weight is not None:
        entropy = batch.entropy.astype(np.float64)
        mean = np.nan if batch.collision_logprob is None else batch.collision_logprob + entropy * collision
        pull = np.asarray(mean)[..., None] - ranks.p * (ranks.logp + entropy[..., None])
        push = push + credit.entropy_weight[..., None] * pull
    return np.where(ranks.beyond[..., None], np.nan, push)[..., :k]


def entropy_push(batch: TokenBatch) -> Array | None:
    """(B, T) push on the entropy, nats in units of the loss, float64; None where there is no credit or Σ p² log p.

    NaN where the target reaches beyond the ranks the batch holds, or the slope of H is missing for an entropy bonus.
    """
    credit = batch.credit
    if credit is None or batch.collision is None or batch.entropy is None or batch.collision_logprob is None:
        return None
    ranks = _Ranks.of(batch, credit)
    entropy, logprob = batch.entropy.astype(np.float64), batch.logprob.astype(np.float64)
    # -∂H/∂x at the sampled token and at the ranks
    fall, falls = np.exp(logprob) * (logprob + entropy), ranks.p * (ranks.logp + entropy[..., None])
    mean = batch.collision_logprob.astype(np.float64) + entropy * batch.collision
    push: Array = credit.weight.astype(np.float64) * (mean - ranks.expected(fall, falls))
    if credit.entropy_weight is not None:
        slope = np.nan if credit.entropy_slope is None else credit.entropy_slope.astype(np.float64)
        push = push + credit.entropy_weight * slope
    return np.where(ranks.beyond, np.nan, push)


class _Ranks(NamedTuple):
    """The ranks a batch holds and its target on them: `p`, `logp`, `share` (B, T, K), `smoothing`, `beyond` (B, T)."""

    logp: Array
    p: Array
    share: Array
    smoothing: Array
    beyond: Array
    """Where the target reaches beyond the ranks."""

    @classmethod
    def of(cls, batch: TokenBatch, credit: Credit) -> _Ranks:
        logp = batch.top_logprob.astype(np.float64)
        p = np.exp(logp)
        smoothing = np.where(credit.smoothing > 0, credit.smoothing.astype(np.float64), 0.0)
        beyond = (smoothing > 0) & (credit.smoothing_k > p.shape[-1])
        return cls(logp, p, _share(p, credit), smoothing, beyond)

    def expected(self, sampled: Array, ranked: Array) -> Array:
        """(B, T) Σ_v ẽ_v f_v from f at the sampled token (B, T), which may lie beyond the ranks, and at the ranks."""
        smoothed = np.where(self.smoothing > 0, self.smoothing * (ranked * self.share).sum(-1), 0.0)
        mean: Array = (1 - self.smoothing) * sampled + smoothed
        return mean


def _share(p: Array, credit: Credit) -> Array:
    """(B, T, K) how the smoothing is shared among the candidates."""
    among = np.arange(p.shape[-1]) < credit.smoothing_k
    if credit.smoothing_weighting == "uniform":
        return np.broadcast_to(among / max(credit.smoothing_k, 1), p.shape)
    held: Array = p * among
    return held / np.maximum(held.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
