"""From the arrays of a scored micro-batch to what the store takes: a `TokenBatch` and the rows of `responses`.

Everything here runs on the recorder's thread, on NumPy arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...store.layout.schema import VERDICTS
from ...store.writing.batch import Array, Credit, TokenBatch

RESPONSE_FIELDS = {
    "rewards": "reward",
    "advantages": "advantage",
    "prompt_ids": "prompt_id",
    "group_ids": "group_id",
    "truncated": "truncated",
    "prompts": "prompt",
    "completions": "completion",
}
"""What `Probe.batch` takes about responses, and the column of `responses` it goes to."""
CREDIT_FIELDS = ("weight", "ratio", "smoothing", "entropy_weight", "entropy_slope")
"""Arrays (B, T) of a `Credit`."""


@dataclass
class ForwardMetadata:
    """What the caller says about the rows of one forward; every sequence has one entry per row.

    Attributes:
        step: optimizer step whose loss scores them.
        response_id: (B,) ids, or None where the probe names the responses (it then writes their rows as well).
        verdict: (B,) codes or names of `VERDICTS`, or None for unjudged.
        about: further columns of `responses`, under their column names.
        smoothing: how the target's smoothing is shared: `smoothing_k` and `smoothing_weighting` of `Credit`.
    """

    step: int
    response_id: Any = None
    verdict: Any = None
    about: dict[str, Sequence[Any]] = field(default_factory=dict)
    smoothing: dict[str, Any] = field(default_factory=dict)


def token_batch(rows: ForwardMetadata, arrays: dict[str, Array], own_mask: bool) -> TokenBatch:
    """The batch for the recorder.

    Args:
        rows: what is known of the rows.
        arrays: `mask`, `token_id`, `logprob`, `rank`, `entropy`, `collision`, `forking` (B, T); `top_logprob`, `top_id`
            (B, T, K); perhaps `collision_logprob`, `sampler_logprob` (B, T) and those of a credit.
        own_mask: the mask was found by the probe, so that a response starts at its first scored position; a mask given
            by the trainer starts at the response's first column.
    """
    credit = [name for name in arrays if name in CREDIT_FIELDS]
    perhaps = [name for name in ("collision_logprob", "sampler_logprob") if name in arrays]
    names = ("token_id", "logprob", "rank", "entropy", "collision", "forking", "top_logprob", "top_id")
    fields: dict[str, Any] = {name: arrays[name] for name in ("mask", *names, *perhaps, *credit)}
    if own_mask:
        fields = left_align(fields)
    given: dict[str, Any] = {name: fields.pop(name) for name in credit}
    return TokenBatch(
        step=rows.step,
        response_id=np.asarray(rows.response_id, dtype=np.int64),
        verdict=_codes(rows.verdict, len(fields["mask"])),
        credit=Credit(**given, **rows.smoothing) if given else None,
        **fields,
    )


def left_align(fields: dict[str, Array]) -> dict[str, Array]:
    """Shift each row so that its first True of `mask` is column 0, and cut what no row uses."""
    mask = fields["mask"]
    if not mask.any():
        return {name: values[:, :0] for name, values in fields.items()}
    start = mask.argmax(axis=1)
    end = mask.shape[1] - mask[:, ::-1].argmax(axis=1)
    width = int((end - start)[mask.any(axis=1)].max())
    column = start[:, None] + np.arange(width)
    inside = column < mask.shape[1]
    column = np.minimum(column, mask.shape[1] - 1)
    row = np.arange(len(mask))[:, None]
    shifted = {name: values[row, column] for name, values in fields.items()}
    shifted["mask"] = shifted["mask"] & inside
    return shifted


def response_columns(rows: ForwardMetadata, arrays: dict[str, Array], tokenizer: Any) -> dict[str, Sequence[Any]]:
    """Columns of `responses` for rows the probe names itself; what is not known stays NULL.

    A prompt is known by the inputs before the first scored token; equal prompts get the same `prompt_id`.
    """
    mask, token_id = arrays["mask"], arrays["token_id"]
    count = len(mask)
    prompts = _prompts(arrays)
    codes = _codes(rows.verdict, count)
    columns: dict[str, Sequence[Any]] = {
        "generation": [rows.step - 1] * count,
        "step": [rows.step] * count,
        "response_id": [int(i) for i in rows.response_id],
        "prompt_id": [hashlib.blake2b(p.tobytes(), digest_size=8).hexdigest() if p.size else "" for p in prompts],
        "group_id": [None] * count,
        "reward": [None] * count,
        "verdict": [VERDICTS[c] for c in codes],
        "advantage": [None] * count,
        "n_tokens": [int(n) for n in mask.sum(axis=1)],
        "truncated": [None] * count,
        "prompt": [None] * count,
        "completion": [None] * count,
    }
    if tokenizer is not None:
        columns["prompt"] = [tokenizer.decode(p.tolist(), skip_special_tokens=True) for p in prompts]
        completions = [ids[scored] for ids, scored in zip(token_id, mask, strict=True)]
        columns["completion"] = [tokenizer.decode(c.tolist(), skip_special_tokens=True) for c in completions]
    return {**columns, **rows.about}


def _prompts(arrays: dict[str, Array]) -> list[Array]:
    """The inputs before the first scored token of each row, without padding."""
    mask, ids, kept = arrays["mask"], arrays.get("input_ids"), arrays.get("attention_mask")
    if ids is None:
        return [np.empty(0, np.int64)] * len(mask)
    # Scored position j is input j + (inputs - positions); a row without scored tokens is all prompt.
    first = np.where(mask.any(axis=1), mask.argmax(axis=1), mask.shape[1]) + ids.shape[1] - mask.shape[1]
    before = np.arange(ids.shape[1]) < first[:, None]
    if kept is not None and kept.shape == ids.shape:
        before &= kept.astype(bool)
    return [row[use].astype(np.int64) for row, use in zip(ids, before, strict=True)]


def _codes(verdict: Any, count: int) -> Array:
    if verdict is None:
        return np.full(count, VERDICTS.index("unjudged"), dtype=np.int8)
    if isinstance(verdict, np.ndarray):
        return verdict.astype(np.int8)
    return np.array([VERDICTS.index(v) if isinstance(v, str) else int(v) for v in verdict], dtype=np.int8)
