"""Handing the statistics of a forward from the training thread to the recorder's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..store.batch import TokenBatch
from .forking import forking_mask
from .rows import Rows, response_columns, token_batch
from .statistics import TokenStats
from .transfer import HostCopy


def deferred_batch(
    stats: TokenStats,
    said: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    step: int,
    tau: float,
    own_mask: bool,
    tokenizer: Any,
    keep_responses: Callable[[dict[str, Sequence[Any]]], None] | None,
) -> Callable[[], TokenBatch]:
    """Start copying what is to be logged; the function returned waits for it and builds the batch.

    Args:
        stats: (B, T) detached statistics.
        said: `response_id`, and perhaps `verdict` and columns of `responses`: a list or tensor of B entries each.
        inputs: `input_ids` and `attention_mask` of the forward, from which prompts are told.
        step: optimizer step whose loss scores the tokens.
        tau: quantile of the forking rule.
        own_mask: the mask is the probe's, not the trainer's (see `rows.token_batch`).
        tokenizer: for prompts and completions, or None.
        keep_responses: takes the rows of `responses`, on the recorder's thread; None where the trainer writes them.
    """
    tensors = {
        "mask": stats.mask,
        "token_id": stats.token_id.int(),
        "logprob": stats.logprob.float(),
        "rank": stats.rank.int(),
        "entropy": stats.entropy.float(),
        "collision": stats.collision.float(),
        "forking": forking_mask(stats.entropy, stats.mask, tau),
        "top_logprob": stats.top_logprob.float(),
        "top_id": stats.top_id.int(),
    }
    tensors |= {f"said_{name}": values for name, values in said.items() if isinstance(values, torch.Tensor)}
    if keep_responses is not None:
        tensors |= {n: inputs[n] for n in ("input_ids", "attention_mask") if isinstance(inputs[n], torch.Tensor)}
    copied = HostCopy(tensors)

    def build() -> TokenBatch:
        arrays = copied.arrays()
        known = {name: arrays.get(f"said_{name}", values) for name, values in said.items()}
        rows = Rows(step, known.pop("response_id"), known.pop("verdict", None), known)
        if keep_responses is not None:
            keep_responses(response_columns(rows, arrays, tokenizer))
        return token_batch(rows, arrays, own_mask)

    return build
