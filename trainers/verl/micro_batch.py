"""What a micro-batch of verl says: where its responses are, which tokens count, what they were rewarded with.

verl's two trainers fill it differently. The newer one sends nested tensors (B, each row as long as it is), the older
one dense ones (B, T) beside an attention mask. What is read here is (B, T) either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

from ...store.errors import UsageError
from ..engine.scored_batch import RIGHT, UNJUDGED, WRONG
from .packed import ResponseRows

_SCORES = ("token_level_scores", "rm_scores")
"""What the reward functions gave, before any penalty: the older trainer's name, the newer one's."""


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """(B, T) a nested tensor padded with zeros; a dense one as it is."""
    return torch.nested.to_padded_tensor(tensor, 0) if tensor.is_nested else tensor


def like(values: torch.Tensor, tensor: Any) -> torch.Tensor:
    """(B, T) values in the layout of another tensor of the micro-batch, nested or dense."""
    if not tensor.is_nested:
        return values
    lengths = tensor.offsets().diff().tolist()
    return torch.nested.as_nested_tensor([row[:n] for row, n in zip(values, lengths, strict=True)], layout=torch.jagged)


def loss_mask(data: Mapping[str, Any]) -> torch.Tensor:
    """(B, T) bool, the tokens that count in the loss."""
    return dense(data["response_mask"]).bool()


def response_rows(data: Mapping[str, Any], packed: bool) -> ResponseRows:
    """Which rows of the forward's logits predict the responses.

    Args:
        data: `input_ids` (nested), `responses`, `response_mask`, and `attention_mask` where they are dense.
        packed: whether sequences lie one after another, or each is padded to the longest.
    """
    ids, responses = data["input_ids"], data["responses"]
    offsets = ids.offsets().tolist()
    if responses.is_nested:
        lengths = responses.offsets().diff().tolist()
    else:
        lengths = data["attention_mask"][:, -responses.size(1) :].sum(1).tolist()
    width = None if data["response_mask"].is_nested else data["response_mask"].size(1)
    if packed:
        return ResponseRows.packed(offsets, lengths, width)
    sequences = [b - a for a, b in pairwise(offsets)]
    return ResponseRows.padded(sequences, lengths, max(sequences), width)


def response_tokens(data: Mapping[str, Any], rows: ResponseRows) -> torch.Tensor:
    """(R,) the tokens of the responses, one response after another."""
    ids = data["input_ids"]
    offsets = ids.offsets().tolist()
    ends = zip(offsets[1:], rows.lengths, strict=True)
    return torch.cat([ids.values()[end - length : end] for end, length in ends])


def rewards(data: Mapping[str, Any]) -> torch.Tensor | None:
    """(B,) the score of each response as the reward function gave it, NaN where it gave none; None: not known."""
    scores = next((data[name] for name in _SCORES if name in data.keys()), None)  # noqa: SIM118  a TensorDict
    return None if scores is None else dense(scores).sum(-1).float()


def verdicts(reward: torch.Tensor | None, count: int, device: torch.device) -> torch.Tensor:
    """(B,) right where the score is at least 1, unjudged where it is NaN or not known, else wrong."""
    if reward is None:
        return torch.full((count,), UNJUDGED, device=device)
    return torch.where(reward.isnan(), UNJUDGED, torch.where(reward >= 1, RIGHT, WRONG))


def response_advantages(data: Mapping[str, Any], mask: torch.Tensor) -> torch.Tensor:
    """(B,) the advantage of each response; NaN where its tokens have different ones."""
    advantages = dense(data["advantages"]).float()
    low = advantages.masked_fill(~mask, torch.inf).amin(1)
    high = advantages.masked_fill(~mask, -torch.inf).amax(1)
    same = high - low <= 1e-5 * high.abs().clamp(min=1)
    return torch.where(mask.any(1), torch.where(same, high, torch.nan), 0.0)


def check_estimator(data: Mapping[str, Any], mask: torch.Tensor, method: str) -> None:
    """See that the advantages come from our estimator, whose returns are the rewards themselves.

    Raises:
        UsageError: they do not, so that the method would credit responses as another one does.
    """
    name = next((n for n in ("token_level_rewards", *_SCORES) if n in data.keys()), None)  # noqa: SIM118
    if name is None or "returns" not in data.keys():  # noqa: SIM118
        return
    reward = dense(data[name]).sum(-1).float()
    returns = response_advantages({"advantages": data["returns"]}, mask)
    wrong = mask.any(1) & ~reward.isnan() & ~((returns - reward).abs() <= 1e-3 * reward.abs().clamp(min=1))
    if bool(wrong.any()):
        raise UsageError(
            f"--method {method} credits the responses of a group by itself, and the advantages of this batch come from "
            "another estimator: give algorithm.adv_estimator=simko"
        )


def prompts_and_responses(data: Mapping[str, Any], rows: ResponseRows) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` (B, P + T): prompts padded on the left, responses on the right."""
    ids = data["input_ids"]
    offsets, values = ids.offsets().tolist(), ids.values()
    before = [b - a - n for (a, b), n in zip(pairwise(offsets), rows.lengths, strict=True)]
    longest = max(before, default=0)
    result = values.new_zeros(len(before), longest + rows.width)
    attended = torch.zeros_like(result, dtype=torch.bool)
    for i, (start, end) in enumerate(pairwise(offsets)):
        first = longest - before[i]
        result[i, first : first + end - start] = values[start:end]
        attended[i, first : first + end - start] = True
    return {"input_ids": result, "attention_mask": attended}
