"""What an engine is: it draws responses to prompts. What becomes of them is no business of its own.

    engine.generate(prompts, 64, draws, seed=7)     (P,) lists of 64 completions

Draws with one seed are the same draws where the engine can give them: on one machine, with one engine and version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Draws:
    """How responses are drawn.

    Attributes:
        temperature: logits are divided by it, above 0.
        top_p: nucleus; 1 draws from the whole distribution.
        max_tokens: longest response, in tokens.
        stop: texts that end a response; they are not part of it.
        verbatim: stray special tokens stay in the text (`decoding.response_texts`).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 4096
    stop: tuple[str, ...] = ()
    verbatim: bool = False


@dataclass(frozen=True)
class Completion:
    """One response.

    Attributes:
        text: without what ended it.
        truncated: whether it hit the length limit.
        n_tokens: its tokens, the end included; None where the engine cannot tell.
    """

    text: str
    truncated: bool
    n_tokens: int | None


class Engine(Protocol):
    """Draws responses.

    Attributes:
        name: `transformers`, `server` or `vllm`; an evaluation is gone on with by the engine that began it.
        tokenizer: the policy's, or None where only the server has it.
        model: the model in this process, or None.
    """

    name: str
    tokenizer: Any
    model: Any

    def generate(self, prompts: Sequence[Any], n: int, draws: Draws, *, seed: int) -> list[list[Completion]]:
        """Draw n responses to each of P prompts.

        Args:
            prompts: P texts, or P lists of chat messages.
            n: responses per prompt.
            draws: how.
            seed: of the draws.

        Raises:
            ServerUnusable: a server does not answer, or not as it should.
        """
        ...

    def close(self) -> None:
        """Let go of what the engine holds: memory, connections, processes."""
        ...


def before_stop(text: str, stop: Sequence[str]) -> str:
    """A text up to the first of the texts that end it."""
    places = [place for word in stop if (place := text.find(word)) >= 0]
    return text[: min(places)] if places else text
