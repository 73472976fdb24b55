"""Responses sampled from a policy: n a prompt, in batches that fit, without disturbing training's random state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from .decoding import response_texts

BATCH_TOKENS = 32_768
"""Tokens held at once when nothing else is said, prompts included: a cache keeps keys and values of all of them."""


def sample_responses(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Any],
    n: int,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    exact: bool = False,
    batch_tokens: int = BATCH_TOKENS,
) -> list[list[str]]:
    """Sample n responses for each of P prompts.

    Args:
        model: a causal LM of transformers.
        tokenizer: its tokenizer, with a pad token.
        prompts: P texts, or P lists of chat messages.
        n: responses a prompt.
        max_new_tokens: longest response.
        temperature: logits are divided by it.
        top_p: nucleus; 1 samples from the whole distribution.
        seed: of the draws; the global random state is left as it was.
        exact: whether stray special tokens stay in the text (`decoding.response_texts`).
        batch_tokens: tokens held at once; a batch has as many rows as fit with the longest prompt and response.

    Returns:
        P lists of n texts.
    """
    from transformers import GenerationConfig

    settings = GenerationConfig(
        do_sample=True,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end_tokens(model, tokenizer),
        disable_compile=True,
    )
    ids = encode_prompts(tokenizer, prompts)
    rows = [i for i in range(len(prompts)) for _ in range(n)]
    longest = max(map(len, ids), default=0) + max_new_tokens
    size = max(1, batch_tokens // longest)
    texts: list[list[str]] = [[] for _ in prompts]
    with sampling_mode(model, seed):
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            inputs = left_padded([ids[i] for i in part], tokenizer.pad_token_id, model.device)
            output = model.generate(**inputs, generation_config=settings)
            responses = output[:, inputs["input_ids"].size(1) :]
            decoded = response_texts(tokenizer, responses, exact=exact, ends=settings.eos_token_id)
            for i, text in zip(part, decoded, strict=True):
                texts[i].append(text)
    return texts


def encode_prompts(tokenizer: Any, prompts: Sequence[Any]) -> list[list[int]]:
    """Token ids of prompts as TRL makes them: the chat template for messages, the plain encoding for text."""
    if not prompts:
        return []
    if isinstance(prompts[0], str):
        ids: list[list[int]] = tokenizer(text=list(prompts))["input_ids"]
        return ids
    encoded = tokenizer.apply_chat_template(
        conversation=list(prompts), add_generation_prompt=True, tokenize=True, return_dict=True
    )
    ids = encoded["input_ids"]
    return ids


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a response: those the model declares, and the tokenizer's."""
    declared = model.generation_config.eos_token_id
    declared = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
    return list(dict.fromkeys([*declared, tokenizer.eos_token_id]))


def left_padded(rows: Sequence[list[int]], pad: int, device: Any) -> dict[str, torch.Tensor]:
    """Ids and mask, (B, longest row), as `generate` takes them."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


@contextmanager
def sampling_mode(model: Any, seed: int) -> Iterator[None]:
    """No gradients, no dropout, a seed of our own; afterwards everything is as it was."""
    training = model.training
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        model.eval()
        try:
            yield
        finally:
            model.train(training)
