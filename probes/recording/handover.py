"""Handing the statistics of a forward from the training thread to the recorder's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from ...store.writing.batch import Shift, TokenBatch
from ..forking import forking_mask
from ..statistics.token_stats import TokenStats
from .host_copy import HostCopy
from .rows import ForwardMetadata, response_columns, token_batch
from .scope import LogitGradient


def deferred_batch(
    stats: TokenStats,
    metadata: Mapping[str, Any],
    inputs: Mapping[str, Any],
    credit: LogitGradient | None = None,
    *,
    step: int,
    tau: float,
    own_mask: bool,
    tokenizer: Any,
    names_responses: bool,
    sampler_logprob: torch.Tensor | None = None,
) -> Callable[[], TokenBatch]:
    """Start copying what is to be logged; the function returned waits for it and builds the batch.

    Args:
        stats: (B, T) detached statistics.
        metadata: `response_id`, and perhaps `verdict` and columns of `responses`: a list or tensor of B entries each.
        inputs: `input_ids` and `attention_mask` of the forward, from which prompts are read.
        credit: what the loss does at the tokens, or None where it is not known.
        step: optimizer step whose loss scores the tokens.
        tau: quantile of the forking rule.
        own_mask: the mask is the probe's, not the trainer's (see `rows.token_batch`).
        tokenizer: for prompts and completions, or None.
        names_responses: whether the probe named the responses, so that their rows go along with the batch; else the
            trainer writes them.
        sampler_logprob: (B, T) what the sampler reported for the tokens, or None.
    """
    tensors = {
        "mask": stats.mask,
        "token_id": stats.token_id.int(),
        "logprob": stats.logprob.float(),
        "rank": stats.rank.int(),
        "entropy": stats.entropy.float(),
        "collision": stats.collision.float(),
        "collision_logprob": stats.collision_logprob.float(),
        "forking": forking_mask(stats.entropy, stats.mask, tau),
        "top_logprob": stats.top_logprob.float(),
        "top_id": stats.top_id.int(),
    }
    if sampler_logprob is not None:
        tensors["sampler_logprob"] = sampler_logprob.detach().float()
    smoothing: dict[str, Any] = {}
    if credit is not None:
        tensors |= {"weight": credit.weight.float(), "ratio": credit.ratio.float()}
        smooth = torch.zeros_like(credit.weight) if credit.smoothing is None else credit.smoothing
        tensors["smoothing"] = smooth.float()
        if credit.entropy_weight is not None:
            tensors["entropy_weight"] = credit.entropy_weight.float()
            tensors["entropy_slope"] = stats.entropy_slope.float()
        smoothing = {"smoothing_k": credit.smoothing_k, "smoothing_weighting": credit.smoothing_weighting}
    tensors |= {f"metadata_{name}": values for name, values in metadata.items() if isinstance(values, torch.Tensor)}
    if names_responses:
        tensors |= {n: inputs[n] for n in ("input_ids", "attention_mask") if isinstance(inputs[n], torch.Tensor)}
    copied = HostCopy(tensors)

    def build() -> TokenBatch:
        arrays = copied.arrays()
        known = {name: arrays.get(f"metadata_{name}", values) for name, values in metadata.items()}
        rows = ForwardMetadata(step, known.pop("response_id"), known.pop("verdict", None), known, smoothing)
        batch = token_batch(rows, arrays, own_mask)
        if not names_responses:
            return batch
        return replace(batch, responses=response_columns(rows, arrays, tokenizer))

    return build


def deferred_shift(
    before: TokenStats, after: TokenStats, verdicts: torch.Tensor, mask: torch.Tensor, *, tau: float
) -> Callable[[], Shift]:
    """Start copying how the tokens of a micro-batch changed; the function returned waits for it.

    Args:
        before, after: (B, T) detached statistics of the same tokens.
        verdicts: (B,) indices in `VERDICTS`.
        mask: (B, T) tokens that count.
        tau: quantile of the forking rule, applied to the entropies before.
    """
    copied = HostCopy(
        {
            "verdict": verdicts,
            "mask": mask,
            "forking": forking_mask(before.entropy, mask, tau),
            "shift": after.top_logprob - before.top_logprob,
            "entropy_shift": after.entropy - before.entropy,
        }
    )
    return lambda: Shift(**copied.arrays())
