"""From the tokens of a response to the text that is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def response_texts(tokenizer: Any, ids: Sequence[Any], *, exact: bool, ends: Sequence[int] = ()) -> list[str]:
    """Texts of B responses.

    Args:
        tokenizer: its tokenizer.
        ids: token ids of each response, as lists or tensors, perhaps padded after their end.
        exact: every token before the end counts. A stray special token (padding, a second beginning) then stays in the
            text and makes it another answer, where the right ones are listed token for token: dropped silently, a
            policy could learn to hide behind it. Where answers are free text they are dropped, as TRL drops them.
        ends: tokens that end a response, beside the tokenizer's.
    """
    if not exact:
        texts: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True)
        return texts
    enders = {tokenizer.eos_token_id, *ends}
    cut = []
    for response in ids:
        tokens = [int(token) for token in response]
        end = next((place for place, token in enumerate(tokens) if token in enders), len(tokens))
        cut.append(tokens[:end])
    kept: list[str] = tokenizer.batch_decode(cut, skip_special_tokens=False)
    return kept
