"""Scoring by a server's `prompt_logprobs`, as vLLM's OpenAI-compatible server gives them for the tokens of a prompt.

    {"prompt": [prompt and response ids], "max_tokens": 1, "prompt_logprobs": K}
    → choices[0].prompt_logprobs: [null, {"<id>": {"logprob", "rank"}, …}, …]     one entry per token sent

An entry holds the K most likely tokens and the token sent. They are log-probabilities of the whole distribution at
temperature 1, so Λ(k) is exact for k ≤ K. Entropy, collision probability and forking tokens take the whole
distribution, which no server gives: they stay NULL. Ranks follow the project's rule for ties among the K; further
down vLLM counts tokens of equal probability as more likely.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...store.errors import UsageError
from ...store.writing.batch import TokenBatch, verdict_codes
from ..errors import ServerUnusable
from ..evaluation.engines.server import ServerEngine
from .encoding import Encoded

_AT_ONCE = 256
"""Responses asked for before their rows are made."""


class ServerScorer:
    """Scores by a server.

    Args:
        engine: a connection to it, with the model's tokenizer.
        k: ranked candidates.
        temperature: 1; servers do not tell other ones.

    Raises:
        UsageError: another temperature.
    """

    name, entropy, context = "server", "none", None

    def __init__(self, engine: ServerEngine, *, k: int, temperature: float = 1.0) -> None:
        if temperature != 1:
            raise UsageError(f"--temperature {temperature:g}: a server tells log-probs at temperature 1 alone")
        self._engine, self.tokenizer, self.k, self.temperature = engine, engine.tokenizer, k, 1.0
        self.vocabulary = len(engine.tokenizer)

    def batches(self, responses: Sequence[Encoded]) -> Iterator[TokenBatch]:
        """Statistics of responses (`Scorer.batches`).

        Raises:
            ServerUnusable: the server does not answer, gives no `prompt_logprobs`, or those of other tokens.
        """
        for first in range(0, len(responses), _AT_ONCE):
            rows = responses[first : first + _AT_ONCE]
            bodies = [
                {
                    "model": self._engine.served,
                    "prompt": [*item.prompt_ids, *item.token_ids],
                    "max_tokens": 1,
                    "temperature": 1.0,
                    "prompt_logprobs": self.k,
                }
                for item in rows
            ]
            answers = self._engine.ask(bodies, purpose=f"prompt_logprobs of {self.k} candidates")
            for item, answer in zip(rows, answers, strict=True):
                yield self._batch(item, answer)

    def _batch(self, item: Encoded, answer: Mapping[str, Any]) -> TokenBatch:
        choice = (answer.get("choices") or [{}])[0]
        entries = choice.get("prompt_logprobs", answer.get("prompt_logprobs"))
        if not isinstance(entries, list):
            raise ServerUnusable(
                "the server gives no prompt_logprobs, so it cannot score; serve the model with vLLM, or leave out "
                "--server"
            )
        if len(entries) != item.length:
            raise ServerUnusable(
                f"the server gives prompt_logprobs of {len(entries)} tokens for {item.length} that were sent; "
                "is it vLLM's OpenAI-compatible server?"
            )
        rows = [self._row(entries[len(item.prompt_ids) + t], token) for t, token in enumerate(item.token_ids)]
        logprob, rank, top_logprob, top_id = (np.array(column) for column in zip(*rows, strict=True))
        return TokenBatch(
            step=0,
            response_id=np.array([item.number]),
            verdict=verdict_codes([item.response.verdict]),
            mask=np.ones((1, len(rows)), bool),
            token_id=np.array([item.token_ids]),
            logprob=logprob.astype(np.float32)[None],
            rank=rank[None],
            entropy=None,
            collision=None,
            forking=None,
            top_logprob=top_logprob.astype(np.float32)[None],
            top_id=top_id[None],
        )

    def _row(self, entry: Any, token: int) -> tuple[float, int, list[float], list[int]]:
        """Log-prob and rank of a token, and the candidates."""
        try:
            held = {int(name): (float(value["logprob"]), int(value["rank"])) for name, value in entry.items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ServerUnusable("the server's prompt_logprobs hold no log-prob and rank per token") from error
        if token not in held:
            raise ServerUnusable(
                "the server's prompt_logprobs are not of the tokens that were sent; does it serve another model or "
                "tokenizer than the checkpoint given?"
            )
        logprob, rank = held[token]
        # The token sent is one more entry where it is not among the K
        among = [(-value[0], index) for index, value in held.items() if index != token or rank <= self.k]
        best = sorted(among)[: self.k]
        if len(best) < self.k:
            raise ServerUnusable(
                f"the server gives {len(best)} candidates per token, not {self.k}; start it with --max-logprobs "
                f"{self.k}, or give a smaller --k"
            )
        if rank <= self.k:
            rank = 1 + sum(-negative > logprob for negative, _ in best)
        return logprob, rank, [-negative for negative, _ in best], [index for _, index in best]

    def close(self) -> None:
        """Close the connection."""
        self._engine.close()
