"""From the inputs of TRL's loss to what an objective sees: `ScoredBatch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...probes.forking import widest_float
from ...probes.statistics.token_stats import TokenStats
from ...store.layout.schema import VERDICTS
from ..objectives import ScoredBatch

RIGHT, WRONG, UNJUDGED = (VERDICTS.index(v) for v in ("right", "wrong", "unjudged"))


def loss_mask(inputs: Mapping[str, Any]) -> torch.Tensor:
    """(B, T) bool, the tokens that count in the loss of a rollout batch or a micro-batch of it."""
    mask = inputs["completion_mask"]
    return (mask * inputs["tool_mask"] if "tool_mask" in inputs else mask).bool()


def class_shares(output: Mapping[str, Any], accelerator: Any) -> dict[str, torch.Tensor]:
    """Scalars `right_share` and `wrong_share`: of the loss's tokens of a rollout batch, over all processes.

    Args:
        output: this process's part: `completion_mask` (N, T), perhaps `tool_mask`, and `verdict` (N,).
        accelerator: adds up over processes.
    """
    length, verdict = loss_mask(output).sum(1), output["verdict"]
    counts = torch.stack([length.sum(), *((length * (verdict == code)).sum() for code in (RIGHT, WRONG))])
    total, *parts = accelerator.reduce(counts.to(widest_float(counts.device)), reduction="sum")
    return {name: part / total.clamp(min=1) for name, part in zip(("right_share", "wrong_share"), parts, strict=True)}


def scored_batch(
    inputs: Mapping[str, Any],
    logprob: torch.Tensor,
    entropy: torch.Tensor,
    stats: TokenStats | None,
    *,
    step: int,
    epsilon: tuple[float, float],
) -> ScoredBatch:
    """What the objective sees of a micro-batch.

    Args:
        inputs: of the loss, with `verdict` (B,) and `loss_mask` (B, T).
        logprob, entropy: (B, T) of the sampled tokens, with gradient.
        stats: (B, S) ranked statistics, of which the last T positions count; None where nothing ranks.
        step: optimizer step being made, from 1.
        epsilon: how far below and above 1 the loss clips ratios.
    """
    old_logprob = inputs.get("old_per_token_logps")
    top_logprob, rank = logprob.new_empty(0, 0, 0), logprob.new_empty(0, 0)
    if stats is not None:
        stats = stats.last(logprob.size(1))
        top_logprob, rank = stats.top_logprob, _place(stats)
    return ScoredBatch(
        logprob=logprob,
        old_logprob=logprob.detach() if old_logprob is None else old_logprob,
        entropy=entropy,
        top_logprob=top_logprob,
        rank=rank,
        mask=inputs["loss_mask"],
        advantages=inputs["advantages"],
        right=inputs["verdict"] == RIGHT,
        wrong=inputs["verdict"] == WRONG,
        step=step,
        right_share=inputs.get("right_share"),
        wrong_share=inputs.get("wrong_share"),
        epsilon_low=epsilon[0],
        epsilon_high=epsilon[1],
    )


def _place(stats: TokenStats) -> torch.Tensor:
    """(B, T) the sampled token's place among the candidates, from 1; its rank where it is none of them.

    The rank counts strictly larger logits, so that in bfloat16 several tokens often have rank 1. Only one of them is
    the argmax.
    """
    same = stats.top_id == stats.token_id.unsqueeze(-1)
    return torch.where(same.any(-1), same.int().argmax(-1) + 1, stats.rank)
