"""Handing the statistics of a forward from the training thread to the recorder's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..store.batch import Shift, TokenBatch
from .forking import forking_mask
from .row_stats import TokenStats
from .rows import Rows, response_columns, token_batch
from .scope import TokenCredit
from .transfer import HostCopy


class Mailbox:
    """Rows of `responses` left on the recorder's thread, which must not wait for room in its own queue, and collected
    on the training thread at the end of a step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[dict[str, Sequence[Any]]] = []

    def leave(self, columns: dict[str, Sequence[Any]]) -> None:
        """From the recorder's thread."""
        with self._lock:
            self._left.append(columns)

    def collect(self) -> list[dict[str, Sequence[Any]]]:
        """What was left since the last time."""
        with self._lock:
            collected, self._left = self._left, []
        return collected


def deferred_batch(
    stats: TokenStats,
    said: Mapping[str, Any],
    inputs: Mapping[str, Any],
    credit: TokenCredit | None = None,
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
        credit: what the loss does at the tokens, or None where it is not known.
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
    smoothing: dict[str, Any] = {}
    if credit is not None:
        tensors |= {"weight": credit.weight.float(), "ratio": credit.ratio.float()}
        smooth = torch.zeros_like(credit.weight) if credit.smoothing is None else credit.smoothing
        tensors["smoothing"] = smooth.float()
        if credit.entropy_weight is not None:
            tensors["entropy_weight"] = credit.entropy_weight.float()
            tensors["collision_logprob"] = stats.collision_logprob.float()
        smoothing = {"smoothing_k": credit.smoothing_k, "smoothing_weighting": credit.smoothing_weighting}
    tensors |= {f"said_{name}": values for name, values in said.items() if isinstance(values, torch.Tensor)}
    if keep_responses is not None:
        tensors |= {n: inputs[n] for n in ("input_ids", "attention_mask") if isinstance(inputs[n], torch.Tensor)}
    copied = HostCopy(tensors)

    def build() -> TokenBatch:
        arrays = copied.arrays()
        known = {name: arrays.get(f"said_{name}", values) for name, values in said.items()}
        rows = Rows(step, known.pop("response_id"), known.pop("verdict", None), known, smoothing)
        if keep_responses is not None:
            keep_responses(response_columns(rows, arrays, tokenizer))
        return token_batch(rows, arrays, own_mask)

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
        }
    )
    return lambda: Shift(**copied.arrays())
