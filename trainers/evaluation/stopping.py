"""Ends responses at given texts while they are generated, whatever the tokenizer.

transformers' own `stop_strings` fails with word-level tokenizers, so the end of each response is decoded and looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class StopTexts:
    """A stopping criterion of `generate`: rows whose response holds one of the texts are done.

    Args:
        tokenizer: decodes.
        stop: the texts.
        start: where responses begin in a row.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], start: int) -> None:
        self._tokenizer, self._stop, self._start = tokenizer, tuple(stop), start
        # A token has one character at least, but for those that are dropped or begin one
        self._tail = 4 + 2 * max(map(len, self._stop))

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """(B,) which rows are done."""
        tails = input_ids[:, max(self._start, input_ids.size(1) - self._tail) :]
        texts = self._tokenizer.batch_decode(tails, skip_special_tokens=True)
        done = [any(word in text for word in self._stop) for text in texts]
        return torch.tensor(done, device=input_ids.device)
