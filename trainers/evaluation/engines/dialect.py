"""What is said to a server and what it says back: bodies of `POST /completions`, and completions out of answers.

Beside what every server knows, a request may carry token-id prompts, a seed, and a wish for token ids or log-probs in
the answer, which tell how many tokens a response has. A server that refuses one of these is asked without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..decoding import response_texts
from ..sampling import encode_prompts
from .base import Completion, Draws, before_stop


@dataclass(frozen=True)
class Prompt:
    """A prompt as text, and as token ids where there is a tokenizer."""

    text: str
    ids: list[int] | None


@dataclass(frozen=True)
class Dialect:
    """What a server understands beyond the bare request.

    Attributes:
        token_ids: prompts may be token ids.
        returns_ids: answers may hold token ids, and special tokens in their text (vLLM).
        logprobs: answers may hold log-probs.
        seeds: requests may carry a seed.
    """

    token_ids: bool = True
    returns_ids: bool = True
    logprobs: bool = True
    seeds: bool = True

    @classmethod
    def richest(cls, tokenizer: Any, draws: Draws, *, seeded: bool) -> Dialect:
        """What is tried first."""
        return cls(token_ids=tokenizer is not None, seeds=seeded)

    def plainer(self) -> Dialect | None:
        """Without the next thing that a server may refuse; None where nothing is left."""
        for name in ("returns_ids", "logprobs", "seeds", "token_ids"):
            if getattr(self, name):
                return replace(self, **{name: False})
        return None

    def body(self, model: str, prompt: Prompt, n: int, draws: Draws, seed: int) -> dict[str, Any]:
        """A request for n responses."""
        body: dict[str, Any] = {
            "model": model,
            "prompt": prompt.ids if self.token_ids and prompt.ids is not None else prompt.text,
            "n": n,
            "max_tokens": draws.max_tokens,
            "temperature": draws.temperature,
            "top_p": draws.top_p,
        }
        if draws.stop:
            body["stop"] = list(draws.stop)
        if self.seeds:
            body["seed"] = seed
        if self.returns_ids:
            body["return_token_ids"] = True
            body["skip_special_tokens"] = not draws.verbatim
        elif self.logprobs:
            body["logprobs"] = 1
        return body


def prompts_of(tokenizer: Any, prompts: Sequence[Any]) -> list[Prompt]:
    """Prompts as they are sent.

    Without a tokenizer they are texts, which the server encodes as it does.
    """
    if tokenizer is None:
        return [Prompt(prompt, None) for prompt in prompts]
    texts = [prompt if isinstance(prompt, str) else _rendered(tokenizer, prompt) for prompt in prompts]
    return [Prompt(text, list(ids)) for text, ids in zip(texts, encode_prompts(tokenizer, prompts), strict=True)]


def _rendered(tokenizer: Any, messages: Any) -> str:
    """Chat messages as text, without the beginning token that a server puts there itself."""
    text = str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    return text.removeprefix(tokenizer.bos_token or "")


def completions_of(answer: dict[str, Any], tokenizer: Any, draws: Draws) -> list[Completion]:
    """The responses in an answer."""
    choices = answer["choices"]
    alone = (answer.get("usage") or {}).get("completion_tokens") if len(choices) == 1 else None
    return [_completion(choice, tokenizer, draws, alone) for choice in choices]


def _completion(choice: dict[str, Any], tokenizer: Any, draws: Draws, alone: int | None) -> Completion:
    text, ids = str(choice.get("text") or ""), choice.get("token_ids")
    truncated = choice.get("finish_reason") == "length"
    if ids is not None and tokenizer is not None and draws.verbatim:
        (text,) = response_texts(tokenizer, [ids], exact=True)
    logprobs = (choice.get("logprobs") or {}).get("tokens")
    if ids is not None:
        n_tokens: int | None = len(ids)
    elif logprobs is not None:
        n_tokens = len(logprobs)
    elif alone is not None:
        n_tokens = int(alone)
    elif tokenizer is not None:
        n_tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"]) + (not truncated)
    else:
        n_tokens = None
    return Completion(before_stop(text, draws.stop), truncated, n_tokens)


def refusal(response: Any) -> str:
    """What a server says about a request that it does not answer, in a line."""
    try:
        content = response.json()
        error = content.get("error", content)
        message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        message = response.text
    return f"{response.status_code} {' '.join(str(message or response.reason_phrase).split())[:200]}"
