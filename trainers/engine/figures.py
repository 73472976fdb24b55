"""Figures of a micro-batch that every tracker gets beside TRL's own, under names that stay as they are.

    simko/lambda_1 … simko/lambda_K     Λ(k), nats
    simko/gap_1_2, simko/gap_2_3        Λ(1) - Λ(2), Λ(2) - Λ(3)
    simko/entropy                       mean entropy of a token, nats
    simko/forking_fraction              share of tokens that the method singles out; where it does
    simko/mismatch_gap, …_kl_k1, …_kl_k3, …_outside    sampler against old policy; where the sampler reports log-probs
    simko/pass_at_1, simko/pass_at_2, … pass@k, when it is measured

They are the figures of the views `lambda_k` (verdict `all`), `rollups` and `mismatch`, of all processes together, made
with one reduction. A figure is logged as its mean over the micro-batches since the last one.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ...probes.forking import widest_float
from ...probes.statistics.token_stats import TokenStats

PREFIX = "simko/"
"""Of every figure of ours."""


def token_figures(
    stats: TokenStats, mask: torch.Tensor, gap: torch.Tensor | None, accelerator: Any
) -> dict[str, float]:
    """The figures of a scored micro-batch, all processes together.

    Args:
        stats: (B, S) ranked statistics, of which the last T positions count.
        mask: (B, T) tokens of the loss.
        gap: (B, T) log π_sampler(y) - log π_old(y), NaN where unknown; None where the sampler reports nothing.
        accelerator: adds up over processes.
    """
    wide = widest_float(mask.device)
    stats = stats.last(mask.size(1))
    top = stats.top_logprob.detach().to(wide) * mask.unsqueeze(-1)
    length = mask.sum(1)
    terms = [length > 0, stats.entropy.detach().to(wide) * mask, mask]
    if gap is not None:
        known = mask.bool() & gap.isfinite()
        g = gap.to(wide).where(known, 0.0)
        terms += [known, g.abs(), g, torch.expm1(-g) + g, g.abs() > math.log(2)]
    by_rank = (top.sum(1) / length.clamp(min=1).unsqueeze(-1)).sum(0)
    sums = torch.cat([by_rank, torch.stack([term.sum(dtype=wide) for term in terms])])
    total = accelerator.reduce(sums, reduction="sum").tolist()
    responses, entropy, tokens, *mismatch = total[len(by_rank) :]
    ranked = [value / max(responses, 1.0) for value in total[: len(by_rank)]]
    result = {f"lambda_{k}": value for k, value in enumerate(ranked, 1)}
    result |= {f"gap_{k}_{k + 1}": ranked[k - 1] - ranked[k] for k in (1, 2) if k < len(ranked)}
    result["entropy"] = entropy / max(tokens, 1.0)
    if mismatch and mismatch[0]:
        count, *terms_of_gap = mismatch
        names = ("gap", "kl_k1", "kl_k3", "outside")
        result |= {f"mismatch_{name}": value / count for name, value in zip(names, terms_of_gap, strict=True)}
    return {PREFIX + name: value for name, value in result.items()}


def forking_fraction(chosen: torch.Tensor, mask: torch.Tensor, accelerator: Any) -> dict[str, float]:
    """The share of tokens (B, T) a method singled out, all processes together."""
    counts = torch.stack([chosen.sum(), mask.sum()]).float()
    forking, total = accelerator.reduce(counts, reduction="sum").tolist()
    return {PREFIX + "forking_fraction": float(forking / max(total, 1.0))}
