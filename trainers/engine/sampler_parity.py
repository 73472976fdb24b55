"""Stops a run whose sampler draws from another distribution than the one that is trained.

Rollouts by another engine (vLLM, or TRL's `rollout_func`) come with the log-probability that the sampler gave each
token. The trainer scores the same tokens anyway: before any step on them has been made, the two differ by rounding
alone, unless weights, temperature or filters differ. Then every importance ratio is wrong, and training goes on
quietly. The guard compares them on the first micro-batch that has enough tokens, and from then on once per optimizer
step; nothing is scored for it.

The figure is the mean over tokens of |log π_sampler(y) - log π_old(y)|, in nats, over all processes. What was measured
in healthy runs and under faults is in `docs/training.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal

import torch
from transformers import TrainerCallback

from ...probes.forking import widest_float
from ..errors import SamplerMismatch
from .seams import SAMPLER_LOGPROB

ENOUGH_TOKENS = 64
"""Tokens that a mean is judged on, at least; fewer wait for the next step."""
LOOKS_LIKE = (
    "what looks like it: tied embeddings or a head that the sampler's weight reload leaves out (1 to 4 nats), weights "
    "that are not synchronised, another temperature, top_p, top_k or min_p (processed log-probs are renormalised over "
    "what they keep), raw log-probs beside a temperature other than 1 (start the vLLM server with --logprobs-mode "
    "processed_logprobs), or rounding in a sampler of low precision (raise --sampler_gap above it)"
)
"""The faults that show as a gap, for the message."""


class SamplerParity(TrainerCallback):
    """Compares what the sampler reported with what the trainer scores, where there is anything to compare.

    Args:
        gap: largest mean absolute gap that passes, nats.
        on_gap: `stop` raises `SamplerMismatch`; `warn` says it once and goes on.
        accelerator: of the trainer, by which processes agree.
    """

    def __init__(self, gap: float, on_gap: Literal["stop", "warn"], accelerator: Any) -> None:
        self._gap, self._on_gap, self._accelerator = gap, on_gap, accelerator
        self._sums: torch.Tensor | None = None  # of |gap|, and how many tokens
        self._judged = self._warned = False

    def see(self, inputs: Mapping[str, Any], logprob: torch.Tensor, step: int) -> None:
        """Take a micro-batch; every process calls it as often.

        Args:
            inputs: of the loss, with `loss_mask` (B, T); those without the sampler's log-probabilities are passed over.
            logprob: (B, T) as just scored; the old policy's where the inputs hold none of it.
            step: optimizer step being made, from 1.

        Raises:
            SamplerMismatch: the first tokens ever compared are too far apart.
        """
        gap = gaps(inputs, logprob)
        if gap is None:
            return
        counted = inputs["loss_mask"].bool() & gap.isfinite()
        wide = widest_float(gap.device)
        sums = torch.stack([gap.abs().where(counted, 0.0).sum(dtype=wide), counted.sum().to(wide)])
        self._sums = sums if self._sums is None else self._sums + sums
        if not self._judged:
            self._judge(step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the tokens of the step."""
        if self._sums is not None:
            self._judge(state.global_step)

    def _judge(self, step: int) -> None:
        assert self._sums is not None
        total, count = self._accelerator.reduce(self._sums, reduction="sum").tolist()
        if count < ENOUGH_TOKENS:
            return
        self._sums, self._judged = None, True
        if total / count <= self._gap:
            return
        line = (
            f"step {step}: the sampler's log-probs differ from the trainer's by {total / count:.3g} nats on average "
            f"over {count:.0f} tokens (--sampler_gap {self._gap:g}); {LOOKS_LIKE}"
        )
        if self._on_gap == "stop":
            raise SamplerMismatch(line)
        if not self._warned and self._accelerator.is_main_process:
            self._warned = True
            print(f"warning: {line}; training goes on (--on_sampler_gap warn)", file=sys.stderr)


def gaps(inputs: Mapping[str, Any], logprob: torch.Tensor) -> torch.Tensor | None:
    """(B, T) log π_sampler(y) - log π_old(y) of a micro-batch; NaN where the sampler reported nothing.

    Args:
        inputs: of the loss.
        logprob: (B, T) as just scored.

    Returns:
        None where the sampler reports no log-probabilities at all.
    """
    reported = inputs.get(SAMPLER_LOGPROB)
    if reported is None:
        return None
    old = inputs.get("old_per_token_logps")
    trained: torch.Tensor = (logprob if old is None else old).detach().float()
    return reported[:, -trained.size(1) :].float() - trained
