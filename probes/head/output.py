"""What a ranked forward returns. The one module that needs transformers, loaded when a head first scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput

from ..statistics.token_stats import TokenStats


@dataclass
class RankedOutput(ModelOutput):
    """What a forward with `ranked=True` returns: the fields of TRL's fused output and the ranked statistics.

    Attributes:
        loss: mean negative log-likelihood of the scored tokens (their sum over `num_items_in_batch` when passed), plus
            the weighted router loss when router logits are requested.
        log_probs: (B, T - 1) log-probability of each next-token label, 0 where the label is -100.
        entropy: (B, T - 1).
        log_sum_sq_probs: (B, T - 1) log Σ_v p_v², without gradient.
        is_top1: (B, T - 1) whether the label is the most likely token.
        label_mask: (B, T - 1) bool, where the label is not -100.
        aux_loss: the router's load-balancing loss, with `output_router_logits=True`.
        stats: everything else.
    """

    loss: torch.Tensor | None = None
    log_probs: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    log_sum_sq_probs: torch.Tensor | None = None
    is_top1: torch.Tensor | None = None
    label_mask: torch.Tensor | None = None
    aux_loss: torch.Tensor | None = None
    stats: TokenStats | None = None
