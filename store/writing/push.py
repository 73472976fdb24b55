"""The push: how a loss moves log p(rank k) at each token, to first order in the logits, from what is logged anyway.

A step of size ε along minus the loss's gradient at one token's logits moves them by ε·(w(ẽ - p) + h·∂H/∂x), hence
log p(v⁽ᵏ⁾) by ε·push_k:

    push_k = w·(ẽ_k - p_k - Σ_v p_v ẽ_v + Σ_v p_v²) + h·(Σ_v p_v² log p_v + H·Σ_v p_v² - p_k·(log p_k + H))

The derivation and its limit are in `docs/metrics.md`; `sql/token_push.sql` is the same formula on token rows.
"""

from __future__ import annotations

import numpy as np

from .batch import Array, Credit, TokenBatch


def push_on_ranks(batch: TokenBatch, k: int) -> Array | None:
    """(B, T, k) push on the log-probability of ranks 1..k, float64; None where the batch has no credit.

    NaN where the target reaches beyond the ranks the batch holds.
    """
    credit = batch.credit
    if credit is None or batch.collision is None or batch.entropy is None:
        return None
    logp = batch.top_logprob.astype(np.float64)
    p = np.exp(logp)
    share = _share(p, credit)
    smoothing = credit.smoothing.astype(np.float64)
    sampled = batch.top_id == batch.token_id[..., None]
    target = (1 - smoothing)[..., None] * sampled + np.where(smoothing > 0, smoothing, 0.0)[..., None] * share
    # Σ_v p_v ẽ_v: the sampled token may lie beyond the ranks held, the smoothed candidates never
    smoothed = np.where(smoothing > 0, smoothing * (p * share).sum(-1), 0.0)
    overlap = (1 - smoothing) * np.exp(batch.logprob.astype(np.float64)) + smoothed
    collision = batch.collision.astype(np.float64)
    weight = credit.weight.astype(np.float64)[..., None]
    push: Array = weight * (target - p + (collision - overlap)[..., None])
    if credit.entropy_weight is not None and credit.collision_logprob is not None:
        entropy = batch.entropy.astype(np.float64)
        pull = (credit.collision_logprob + entropy * collision)[..., None] - p * (logp + entropy[..., None])
        push = push + credit.entropy_weight[..., None] * pull
    if credit.smoothing_k > p.shape[-1]:
        push = np.where((smoothing > 0)[..., None], np.nan, push)
    return push[..., :k]


def _share(p: Array, credit: Credit) -> Array:
    """(B, T, K) how the smoothing is shared among the candidates."""
    among = np.arange(p.shape[-1]) < credit.smoothing_k
    if credit.smoothing_weighting == "uniform":
        return np.broadcast_to(among / max(credit.smoothing_k, 1), p.shape)
    held: Array = p * among
    return held / np.maximum(held.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
