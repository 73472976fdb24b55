"""What a mini-batch counts over all processes, and the figures of its micro-batches that verl logs.

verl adds up the figures of micro-batches and takes the mean over processes, as it does with losses: each contribution
is divided by what the whole mini-batch counts and multiplied by the number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from ...probes.forking import widest_float
from ...probes.statistics.token_stats import TokenStats
from ..engine.scored_batch import RIGHT, WRONG
from .micro_batch import loss_mask, rewards, verdicts


class BatchCounts(NamedTuple):
    """A mini-batch, all processes together.

    Attributes:
        tokens: that count in the loss.
        responses: that have such tokens.
        right_share, wrong_share: scalars, shares of right and of wrong answers in the tokens.
        processes: how many data-parallel processes there are.
    """

    tokens: float
    responses: float
    right_share: torch.Tensor
    wrong_share: torch.Tensor
    processes: int


def count_batch(data: Mapping[str, Any], group: Any) -> BatchCounts:
    """Count a mini-batch; every data-parallel process calls it with its part.

    Args:
        data: this process's part.
        group: the data-parallel group.
    """
    mask = loss_mask(data)
    length, verdict = mask.sum(1), verdicts(rewards(data), mask.size(0), mask.device)
    device = torch.device(_device(group, mask.device))
    counts = torch.stack(
        [length.sum(), (length > 0).sum(), *((length * (verdict == code)).sum() for code in (RIGHT, WRONG))]
    )
    counts = counts.to(device, widest_float(device))
    torch.distributed.all_reduce(counts, group=group)
    tokens, responses, right, wrong = counts.unbind()
    processes = torch.distributed.get_world_size(group)
    at_least_one = tokens.clamp(min=1)
    return BatchCounts(float(tokens), float(responses), right / at_least_one, wrong / at_least_one, processes)


def figures(
    stats: TokenStats | None, mask: torch.Tensor, forking: torch.Tensor | None, counts: BatchCounts
) -> dict[str, float]:
    """What a micro-batch adds to Λ(1..3) and to the share of tokens a method singled out.

    Where the statistics are missing the figures are NaN: every process has to log the same names.

    Args:
        stats: (B, T) masked to what counts, or None.
        mask: (B, T) what counts.
        forking: (B, T) the tokens singled out, or None.
        counts: of the mini-batch.
    """
    result: dict[str, float] = {}
    lambdas = [float("nan")] * 3
    if stats is not None:
        wide = widest_float(mask.device)
        top = stats.top_logprob.detach()[..., :3].to(wide) * mask.unsqueeze(-1)
        means = top.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        share = counts.processes / max(counts.responses, 1.0)
        lambdas[: means.size(1)] = (means.sum(0) * share).tolist()
    result |= {f"lambda_{k}": value for k, value in enumerate(lambdas, 1)}
    if forking is not None:
        result["forking_fraction"] = float((forking & mask).sum()) * counts.processes / max(counts.tokens, 1.0)
    return result


def _device(group: Any, here: torch.device) -> str:
    """Where the group adds up: the batch may still lie on the host."""
    if here.type != "cpu" or torch.distributed.get_backend(group) == "gloo":
        return here.type
    from verl.utils.device import get_device_id, get_device_name

    return f"{get_device_name()}:{get_device_id()}"
