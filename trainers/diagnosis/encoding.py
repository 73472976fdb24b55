"""From responses to token ids: what of them can be scored, and what is counted apart.

A response's tokens are those it was drawn with, where they are known, else those of its text, encoded by itself: the
prompt's last token and the response's first are never merged into one. Where a policy drew other tokens for the same
text, the text's own encoding is scored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ResponsesUnusable, ResponseTooLong
from ..evaluation.sampling import encode_prompts
from .responses import Response


@dataclass(frozen=True)
class Encoded:
    """One response as tokens.

    Attributes:
        number: its place among all that were given, from 0: its `response_id`.
        prompt_ids: of the prompt, never empty.
        token_ids: of the response; empty where it has no token.
    """

    number: int
    response: Response
    prompt_ids: list[int]
    token_ids: list[int]

    @property
    def length(self) -> int:
        """Tokens of both."""
        return len(self.prompt_ids) + len(self.token_ids)


@dataclass(frozen=True)
class EncodedResponses:
    """All that were given.

    Attributes:
        scored: those that have a token and fit the model.
        empty: those without a token; no figure counts them.
        too_long: how many were left out because the model does not take as many tokens.
    """

    scored: list[Encoded]
    empty: list[Encoded]
    too_long: int


def encode(
    tokenizer: Any, responses: Sequence[Response], *, context: int | None, skip_long: bool = False
) -> EncodedResponses:
    """Encode responses.

    Args:
        tokenizer: of the model that will score them.
        responses: R of them.
        context: tokens the model takes; None where that is not known.
        skip_long: leave out, and count, those that are longer.

    Raises:
        ResponseTooLong: one is longer, and `skip_long` is False.
        ResponsesUnusable: a prompt has no token, or no response has one.
    """
    prompts: dict[str, list[int]] = {}
    scored: list[Encoded] = []
    empty: list[Encoded] = []
    too_long: list[Encoded] = []
    for number, response in enumerate(responses):
        key = json.dumps(response.prompt, ensure_ascii=False)
        if key not in prompts:
            prompts[key] = _prompt_ids(tokenizer, response.prompt)
        if not prompts[key]:
            raise ResponsesUnusable(
                f"response {number + 1}: its prompt has no token, so nothing predicts the response's first one"
            )
        item = Encoded(number, response, prompts[key], _token_ids(tokenizer, response))
        fits = context is None or item.length <= context
        (too_long if not fits else scored if item.token_ids else empty).append(item)
    if too_long and not skip_long:
        longest = max(too_long, key=lambda item: item.length)
        raise ResponseTooLong(
            f"response {longest.number + 1} and its prompt have {longest.length} tokens, the model takes {context} "
            f"({len(too_long)} of {len(responses)} are too long); shorten them, or leave them out with --skip_long"
        )
    if not scored:
        raise ResponsesUnusable(
            f"nothing to score: of {len(responses)} responses {len(empty)} are empty and {len(too_long)} too long"
        )
    return EncodedResponses(scored, empty, len(too_long))


def _prompt_ids(tokenizer: Any, prompt: Any) -> list[int]:
    if not isinstance(prompt, str) and getattr(tokenizer, "chat_template", None) is None:
        raise ResponsesUnusable(
            "prompts are chat messages, and the tokenizer has no chat template; give prompts as text"
        )
    return list(encode_prompts(tokenizer, [prompt])[0])


def _token_ids(tokenizer: Any, response: Response) -> list[int]:
    if response.token_ids is not None:
        return list(response.token_ids)
    ids = list(tokenizer(response.completion, add_special_tokens=False, verbose=False)["input_ids"])
    return [*ids, tokenizer.eos_token_id] if response.ended else ids
