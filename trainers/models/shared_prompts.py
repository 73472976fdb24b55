"""A prompt that many responses share goes through the model once: `share_prompts(model)`.

A rollout batch holds each prompt as many times as its group has responses, and short answers to long prompts make the
prompt nearly all of the work. The backbone's forward is wrapped: rows that begin alike are found, the common beginning
runs once per distinct one, its keys and values are dealt out to the rows, and the rest of each row runs on them. The
gradient flows through the keys and values, so training by the loss of the whole rows is the same up to rounding. It
serves generation (the first forward), scoring and evaluation alike.

Calls that cannot be shared go to the model's own forward unchanged: embeddings instead of tokens, a cache that is not
empty, sliding windows or recurrent layers, activation checkpointing, hidden states of every layer.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch

from ...store.errors import UsageError

_LEAST_SAVED = 0.25
"""Of the batch's tokens: below it a second forward costs more than it saves."""
_WHOLE_ONLY = ("inputs_embeds", "output_hidden_states", "output_attentions", "output_router_logits")


def share_prompts(model: Any, *, checkpointing: bool = False, processes: int = 1) -> None:
    """Let the backbone of a causal language model run common beginnings once; calling it twice changes nothing.

    Args:
        model: of transformers, not wrapped yet.
        checkpointing: whether it will be trained with activation checkpointing, which keeps no keys and values.
        processes: that train it together.

    Raises:
        UsageError: it will be trained in a way, or has layers of a kind, that this does not serve.
    """
    if checkpointing:
        raise UsageError("--share_prompts true needs --gradient_checkpointing false: shared keys and values are kept")
    if processes > 1:
        raise UsageError("--share_prompts true is for one process; leave it out under a launcher")
    backbone = model.base_model
    if backbone is model or not _keeps_every_token(_empty_cache(backbone)):
        raise UsageError(
            f"--share_prompts true: {type(model).__name__} has layers whose state is not the keys and values of every "
            "token; leave the option out"
        )
    if "_simko_shares_prompts" in backbone.__dict__:
        return
    whole = backbone.forward

    @functools.wraps(type(backbone).forward)
    def forward(
        self: Any,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        options = {**kwargs, "past_key_values": past_key_values, "use_cache": use_cache}
        places = {"attention_mask": attention_mask, "position_ids": position_ids}
        cache = _empty_cache(self) if past_key_values is None else past_key_values
        if input_ids is None or not _can_share(self, input_ids, attention_mask, cache, options):
            return whole(input_ids=input_ids, **places, **options)
        length, first, owner = common_beginnings(input_ids, attention_mask)
        if length * (len(owner) - len(first)) < _LEAST_SAVED * input_ids.numel():
            return whole(input_ids=input_ids, **places, **options)
        options |= {"past_key_values": cache, "use_cache": True}
        beginning = forward(  # beginnings may begin alike in turn: the worked examples before every question
            self,
            input_ids=input_ids[first, :length],
            attention_mask=None if attention_mask is None else attention_mask[first, :length],
            position_ids=_positions(position_ids, first, slice(None, length)),
            **options,
        )
        cache.batch_select_indices(owner)
        rest = whole(
            input_ids=input_ids[:, length:],
            attention_mask=attention_mask,
            position_ids=_positions(position_ids, slice(None), slice(length, None)),
            **options,
        )
        rest.last_hidden_state = torch.cat([beginning.last_hidden_state[owner], rest.last_hidden_state], dim=1)
        rest.past_key_values = past_key_values
        return rest

    backbone.__dict__["forward"] = types.MethodType(forward, backbone)
    backbone.__dict__["_simko_shares_prompts"] = True


def common_beginnings(ids: torch.Tensor, mask: torch.Tensor | None) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Where rows are cut so that running each distinct beginning once saves the most tokens.

    Args:
        ids: (B, S) tokens.
        mask: (B, S), 0 at padding, or None.

    Returns:
        (length L < S of the beginnings, (U,) a row for each distinct one, (B,) which of them each row begins with).
        Every row keeps at least its last token.
    """
    rows = ids if mask is None else ids.masked_fill(mask == 0, -1)
    ordered, place = torch.unique(rows[:, :-1], dim=0, return_inverse=True)  # in lexicographic order
    alike = (ordered[1:] == ordered[:-1]).long().cumprod(1).sum(1)  # (U-1,) of neighbours
    length, saved = rows.size(1) - 1, (len(rows) - len(ordered)) * (rows.size(1) - 1)
    for candidate in alike.unique().tolist():
        kept = 1 + int((alike < candidate).sum())
        if candidate * (len(rows) - kept) > saved:
            length, saved = candidate, candidate * (len(rows) - kept)
    starts = torch.cat([alike.new_ones(1, dtype=torch.bool), alike < length])
    owner = (starts.long().cumsum(0) - 1)[place]
    first = torch.full((int(starts.sum()),), len(rows), dtype=torch.long, device=ids.device)
    first.scatter_reduce_(0, owner, torch.arange(len(rows), device=ids.device), "amin")
    return length, first, owner


def _can_share(
    backbone: Any, ids: torch.Tensor, mask: torch.Tensor | None, cache: Any, options: dict[str, Any]
) -> bool:
    if ids.dim() != 2 or ids.size(0) < 2 or ids.size(1) < 2 or (mask is not None and mask.shape != ids.shape):
        return False
    if backbone.training and getattr(backbone, "is_activation_checkpointing", False):
        return False
    if any(options.get(name) for name in _WHOLE_ONLY) or getattr(backbone.config, "output_hidden_states", False):
        return False
    return _keeps_every_token(cache) and cache.get_seq_length() == 0


def _empty_cache(backbone: Any) -> Any:
    from transformers import DynamicCache

    return DynamicCache(config=backbone.config)


def _keeps_every_token(cache: Any) -> bool:
    from transformers.cache_utils import DynamicCache, DynamicLayer

    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)


def _positions(position_ids: torch.Tensor | None, rows: Any, columns: slice) -> torch.Tensor | None:
    """The part of (B, S) or (1, S) positions that belongs to some rows and columns."""
    if position_ids is None:
        return None
    return position_ids[:, columns] if position_ids.size(0) == 1 else position_ids[rows, columns]
