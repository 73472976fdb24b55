"""Responses that end at a text, such as a new line after a one-line answer: by the tokens that hold it.

Generation, training and evaluation all take a model's end tokens from its `generation_config`, so that is where they
go, and the saved model has them too. A text of several tokens cannot end a response this way: it is warned about.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

_log = logging.getLogger(__name__)


def end_at_stop(model: Any, tokenizer: Any, stop: Sequence[str]) -> None:
    """Make the tokens that hold a stop text of one character end a response."""
    for text in stop:
        if len(text) > 1:
            _log.warning(
                "responses are judged up to %r, but do not end there while the model trains: what follows is trained "
                "on too; --prompt_style chat or plain ends at the end token",
                text,
            )
    ends = [token for text in stop if len(text) == 1 for token in tokens_with(tokenizer, text)]
    if ends:
        declared = model.generation_config.eos_token_id
        declared = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
        model.generation_config.eos_token_id = list(dict.fromkeys([*declared, tokenizer.eos_token_id, *ends]))


def tokens_with(tokenizer: Any, text: str) -> list[int]:
    """The ids whose own text holds `text`: a new line also comes as `.\\n` and as two of them."""
    ids = range(len(tokenizer))
    words = tokenizer.batch_decode([[token] for token in ids], skip_special_tokens=True)
    return [token for token, word in zip(ids, words, strict=True) if text in word]
