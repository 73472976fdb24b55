"""The rows of `responses` that a rollout batch gives, before TRL shuffles it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...store.layout.schema import VERDICTS, Verdict
from .dynamic_sampling import Rollouts


def response_columns(rollouts: Rollouts, ends: Sequence[int], group: int, tokenizer: Any) -> dict[str, Any]:
    """Columns of `responses`, all but those that say when they were sampled.

    Args:
        rollouts: a batch whose output has `verdict` and `response_id`.
        ends: token ids that end a response.
        group: responses per prompt.
        tokenizer: gives the texts.
    """
    inputs, output = rollouts.inputs, rollouts.output
    ids, mask = output["completion_ids"], output["completion_mask"].bool()
    loss_mask = mask & output["tool_mask"].bool() if "tool_mask" in output else mask
    ended = (torch.isin(ids, torch.tensor(ends, device=ids.device)) & mask).any(1)
    response_id = output["response_id"].tolist()
    verdicts: list[Verdict] = [VERDICTS[v] for v in output["verdict"].tolist()]
    return {
        "response_id": response_id,
        "prompt_id": [str(row.get("prompt_id", "")) for row in inputs],
        "group_id": [r // group for r in response_id],
        "reward": [None if r != r else r for r in rollouts.rewards.tolist()],
        "verdict": verdicts,
        "advantage": output["advantages"].tolist(),
        "n_tokens": loss_mask.sum(1).tolist(),
        "truncated": (~ended).tolist(),
        "prompt": tokenizer.batch_decode(
            _unpadded(output["prompt_ids"], output["prompt_mask"]), skip_special_tokens=True
        ),
        "completion": tokenizer.batch_decode(_unpadded(ids, mask), skip_special_tokens=True),
    }


def _unpadded(ids: torch.Tensor, mask: torch.Tensor) -> list[list[int]]:
    """(B, T) padded ids and mask to lists without padding."""
    return [row[keep].tolist() for row, keep in zip(ids.cpu(), mask.bool().cpu(), strict=True)]
