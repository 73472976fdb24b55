"""Exact probability of success where every right response of a problem can be listed: no sampling noise at any k.

p_i = Σ over right responses of π(response, end | prompt), by teacher forcing; E[pass@k] = mean_i 1 − (1 − p_i)^k
(`store.statistics.pass_at_k_exact`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float64]


def exact_success(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    answers: Sequence[Sequence[str]],
    *,
    temperature: float = 1.0,
    batch_size: int = 512,
    most: Callable[[int], int] = int,
) -> Floats:
    """The probability that one response sampled at a temperature is right.

    Args:
        model: a causal LM; its mode (train or eval) is the caller's business.
        tokenizer: its plain encoding of a prompt is what generation starts from.
        prompts: P prompt texts.
        answers: per problem, every right response without the end token; distinct texts.
        temperature: logits are divided by it.
        batch_size: (prompt, response) pairs scored at once.
        most: the largest of a number over the processes that score in step.

    Returns:
        (P,) probabilities.
    """
    owner, starts, sequences = [], [], []
    prompt_ids = tokenizer(list(prompts))["input_ids"]
    for i, responses in enumerate(answers):
        for ids in tokenizer(list(responses), add_special_tokens=False)["input_ids"] if responses else []:
            owner.append(i)
            starts.append(len(prompt_ids[i]))
            sequences.append([*prompt_ids[i], *ids, tokenizer.eos_token_id])
    success = np.zeros(len(prompts))
    for batch in range(most(-(-len(sequences) // batch_size))):
        part = slice(batch * batch_size, (batch + 1) * batch_size)
        if not sequences[part]:  # another process has more: take part in its forward
            _response_logprob(model, [[tokenizer.eos_token_id] * 2], [1], temperature)
            continue
        logprob = _response_logprob(model, sequences[part], starts[part], temperature)
        np.add.at(success, owner[part], np.exp(logprob))
    return np.minimum(success, 1.0)  # a sum of float32 exponentials may exceed 1 by rounding


@torch.no_grad()
def _response_logprob(model: Any, sequences: Sequence[list[int]], starts: Sequence[int], temperature: float) -> Floats:
    """(N,) log-probability of everything from `starts` on; right padding, masked out."""
    width = max(map(len, sequences))
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    position = torch.arange(1, width)
    scored = (mask[:, 1:] == 1) & (position >= torch.tensor(starts)[:, None])
    device = model.device
    ids, mask, scored = ids.to(device), mask.to(device), scored.to(device)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    logprob = torch.log_softmax(logits.float() / temperature, -1).gather(-1, ids[:, 1:, None])[..., 0]
    total: Floats = logprob.masked_fill(~scored, 0.0).cpu().double().sum(1).numpy()
    return total
