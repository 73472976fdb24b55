"""What an objective sees and what it gives back. Shapes: B responses, T positions, K ranked candidates; nats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class ScoredBatch:
    """One scored micro-batch under the current policy.

    Attributes:
        logprob: (B, T) log π(y_t), with gradient.
        old_logprob: (B, T) log π_old(y_t), without; the same values on the first pass over a rollout batch.
        entropy: (B, T) exact entropy H_t, with gradient.
        top_logprob: (B, T, K) log π(v⁽ᵏ⁾), with gradient; v⁽ᵏ⁾ is the rank-k candidate of the current policy. K is at
            least the objective's `num_candidates`, and 0 when that is 0.
        rank: (B, T) place of the sampled token among the candidates, from 1, equal logits in order of their ids, so
            that 1 is the argmax, as in the released code of SimKO; empty (0, 0) when that is 0.
        mask: (B, T) bool, the one mask of the loss.
        advantages: (B,) one a response, from `Objective.group_advantages`.
        right, wrong: (B,) bool, the verdicts; an unjudged response is neither.
        step: optimizer step being made, from 1.
        right_share, wrong_share: scalars, the shares of right and of wrong answers in the loss's tokens of the whole
            rollout batch, all micro-batches and processes; None: this micro-batch is the whole batch.
        epsilon_low, epsilon_high: the loss clips ratios outside [1 - low, 1 + high]; infinite where it clips none.
    """

    logprob: torch.Tensor
    old_logprob: torch.Tensor
    entropy: torch.Tensor
    top_logprob: torch.Tensor
    rank: torch.Tensor
    mask: torch.Tensor
    advantages: torch.Tensor
    right: torch.Tensor
    wrong: torch.Tensor
    step: int = 1
    right_share: torch.Tensor | None = None
    wrong_share: torch.Tensor | None = None
    epsilon_low: float = math.inf
    epsilon_high: float = math.inf


@dataclass(frozen=True)
class Surrogate:
    """What the loss consumes instead of plain log-probabilities and advantages.

    Attributes:
        logprob: (B, T), its gradient is the method's.
        advantages: (B,) or (B, T).
        forking: (B, T) bool, the tokens the method singled out, or None.
        penalty: (B, T) added to the loss of each token, under the loss's own normaliser, or None.
    """

    logprob: torch.Tensor
    advantages: torch.Tensor
    forking: torch.Tensor | None = None
    penalty: torch.Tensor | None = None


class Objective(Protocol):
    """A method: how it credits the responses of a group, and what it does at each token."""

    @property
    def num_candidates(self) -> int:
        """How many ranked candidates it needs; 0 for none."""

    def group_advantages(self, rewards: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
        """Credit of each response, from its group.

        Args:
            rewards: (P, G) rewards of G responses to each of P prompts; NaN where unjudged.
            advantages: (P, G) what the trainer makes of them: GRPO's.

        Returns:
            (P, G).
        """

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """The surrogate of a scored micro-batch."""


class TokenObjective:
    """Base of methods that credit responses as GRPO does and differ at the tokens."""

    @property
    def num_candidates(self) -> int:
        """None."""
        return 0

    def group_advantages(self, rewards: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
        """GRPO's."""
        return advantages


class GroupObjective:
    """Base of methods that differ in how they credit responses and treat tokens as GRPO does."""

    @property
    def num_candidates(self) -> int:
        """None."""
        return 0

    def __call__(self, batch: ScoredBatch) -> Surrogate:
        """Plain log-probabilities."""
        return Surrogate(batch.logprob, batch.advantages)
