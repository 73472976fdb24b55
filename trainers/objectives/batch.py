"""What an objective sees and what it gives back. Shapes: B responses, T positions, K ranked candidates; nats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class ScoredBatch:
    """One scored micro-batch under the current policy.

    Attributes:
        logprob: (B, T) log π(y_t), with gradient.
        entropy: (B, T) exact entropy H_t, with gradient.
        top_logprob: (B, T, K) log π(v⁽ᵏ⁾), with gradient; v⁽ᵏ⁾ is the rank-k candidate of the current policy.
        rank: (B, T) rank of the sampled token, from 1.
        mask: (B, T) bool, the one mask of the loss.
        advantages: (B,) group-relative advantages.
        right: (B,) bool, whether the response was judged right.
    """

    logprob: torch.Tensor
    entropy: torch.Tensor
    top_logprob: torch.Tensor
    rank: torch.Tensor
    mask: torch.Tensor
    advantages: torch.Tensor
    right: torch.Tensor


@dataclass(frozen=True)
class Surrogate:
    """What the loss consumes instead of plain log-probabilities and advantages.

    Attributes:
        logprob: (B, T), equal in value to `ScoredBatch.logprob`; its gradient is the method's.
        advantages: (B,) or (B, T).
        forking: (B, T) bool, the forking tokens the method singled out.
    """

    logprob: torch.Tensor
    advantages: torch.Tensor
    forking: torch.Tensor


class Objective(Protocol):
    """A method: which ranked candidates it needs, and its surrogate."""

    @property
    def k(self) -> int:
        """How many ranked candidates the method needs."""

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """The surrogate of a scored micro-batch."""
