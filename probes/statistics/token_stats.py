"""Ranked statistics as tensors: of N rows, and of B responses at T positions; `ranked_statistics` defines them."""

from __future__ import annotations

from typing import NamedTuple

import torch


class TokenStats(NamedTuple):
    """Ranked statistics of B responses at T positions; all fields are 0 outside `mask`.

    A named tuple, so that DDP, FSDP and accelerate find the tensors inside a model output.

    Attributes:
        logprob: (B, T) log-probability of the scored token. Carries gradient.
        entropy: (B, T) entropy of the distribution. Carries gradient.
        logsumexp: (B, T) log-normaliser of the (scaled, tempered) logits.
        rank: (B, T) int64 rank of the scored token, from 1.
        collision: (B, T) Σ_v p_v².
        collision_logprob: (B, T) Σ_v p_v² log p_v.
        entropy_slope: (B, T) Σ_v p_v² (log p_v + H)², the squared norm of ∂H/∂x.
        top_logprob: (B, T, K) log-probabilities of rank 1..K. Carries gradient.
        top_id: (B, T, K) int64 their vocabulary ids.
        mask: (B, T) bool, the scored positions.
        token_id: (B, T) int64, the scored token.
    """

    logprob: torch.Tensor
    entropy: torch.Tensor
    logsumexp: torch.Tensor
    rank: torch.Tensor
    collision: torch.Tensor
    collision_logprob: torch.Tensor
    entropy_slope: torch.Tensor
    top_logprob: torch.Tensor
    top_id: torch.Tensor
    mask: torch.Tensor
    token_id: torch.Tensor

    def detach(self) -> TokenStats:
        """The same values without gradient."""
        return TokenStats(*(field.detach() for field in self))

    def last(self, width: int) -> TokenStats:
        """The last `width` positions, e.g. a completion without its prompt."""
        start = self.mask.size(1) - width
        if start < 0:
            raise ValueError(f"only {self.mask.size(1)} positions are scored, {width} asked for")
        return TokenStats(*(field[:, start:] for field in self))


class RowStats(NamedTuple):
    """The statistics of N rows: fields of `TokenStats` with shapes (N,) and (N, K)."""

    logprob: torch.Tensor
    entropy: torch.Tensor
    logsumexp: torch.Tensor
    rank: torch.Tensor
    collision: torch.Tensor
    collision_logprob: torch.Tensor
    entropy_slope: torch.Tensor
    top_logprob: torch.Tensor
    top_id: torch.Tensor

    def detach(self) -> RowStats:
        """The same values without gradient."""
        return RowStats(*(field.detach() for field in self))

    def scatter(self, mask: torch.Tensor, labels: torch.Tensor) -> TokenStats:
        """Put the rows at the True positions of `mask` (B, T), in row-major order; `labels` is (B, T)."""

        def place(rows: torch.Tensor) -> torch.Tensor:
            # masked_scatter keeps the result connected to the graph even when no position is scored
            wide = mask if rows.dim() == 1 else mask.unsqueeze(-1)
            return rows.new_zeros(mask.shape + rows.shape[1:]).masked_scatter(wide, rows)

        return TokenStats._make([*map(place, self), mask, labels.masked_fill(~mask, 0)])


class RowGradientInputs(NamedTuple):
    """What the gradient by the logits needs of the statistics of N rows: (N,), (N,) and (N, K)."""

    entropy: torch.Tensor
    logsumexp: torch.Tensor
    top_id: torch.Tensor

    def of(self, rows: slice) -> RowGradientInputs:
        """Those of some rows."""
        return RowGradientInputs(*(field[rows] for field in self))


class RowGradients(NamedTuple):
    """Gradients by the statistics that carry one, (N,), (N,) and (N, K); None where nobody takes it."""

    logprob: torch.Tensor | None
    entropy: torch.Tensor | None
    top_logprob: torch.Tensor | None

    def of(self, rows: slice) -> RowGradients:
        """Those of some rows."""
        return RowGradients(*(None if field is None else field[rows] for field in self))

    def weight(self, like: torch.Tensor) -> torch.Tensor:
        """(N,) what multiplies -p in the gradient by the logits."""
        weight = torch.zeros_like(like)
        if self.logprob is not None:
            weight = weight + self.logprob
        if self.top_logprob is not None:
            weight = weight + self.top_logprob.sum(1)
        return weight
