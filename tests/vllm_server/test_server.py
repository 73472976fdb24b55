"""A real server of vLLM: started by the engine, asked what it says of tokens, compared with transformers, ended."""

from __future__ import annotations

import httpx2
import psutil
import pytest
import torch
from simko.trainers.errors import ServerUnusable
from simko.trainers.evaluation.engines.base import Draws
from simko.trainers.evaluation.engines.vllm import VLLMEngine
from simko.trainers.models.loading import load_model, load_tokenizer
from vllm_processes import ARGUMENTS, started

PROMPTS = ["1 2 3 6", "2 5 7 14", "4 4 9 1"]
PARITY = 1e-4
"""Nats between two implementations in float32; 3.6e-5 was measured."""


def engine_of(policy, folder):
    return VLLMEngine(policy, tokenizer=load_tokenizer(policy), arguments=ARGUMENTS, log_folder=folder, devices=[])


def ask(engine, **body):
    """An answer of the server to a request of ours."""
    response = httpx2.post(f"{engine.urls[0]}/completions", json={"model": "policy", **body}, timeout=120)
    assert response.status_code == 200, response.text
    return response.json()["choices"]


def logprobs(model, ids):
    """(T, V) log-probs of what follows each token."""
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)


def test_a_server_draws_what_transformers_scores_and_leaves_no_process(policy, tmp_path, mark):
    engine = engine_of(policy, tmp_path)
    try:
        assert len(started(mark)) >= 3  # who ends it, the server, the engine's core
        drawn = engine.generate(PROMPTS, 20, Draws(max_tokens=8, verbatim=True), seed=1)
        assert [len(row) for row in drawn] == [20] * 3
        assert all(0 < completion.n_tokens <= 8 for row in drawn for completion in row)
        assert len({completion.text for completion in drawn[0]}) > 1

        model, tokenizer = load_model(policy)
        for prompt in PROMPTS:
            ids = tokenizer(prompt)["input_ids"]
            _responses_have_the_logprobs_of(model, tokenizer, engine, ids)
            _the_ranks_and_logprobs_of_a_prompt_are_those_of(model, tokenizer, engine, ids)
    finally:
        engine.close()
    assert started(mark) == []


def _responses_have_the_logprobs_of(model, tokenizer, engine, ids):
    choices = ask(
        engine, prompt=ids, n=8, max_tokens=8, temperature=1.0, logprobs=5, return_token_ids=True,
        return_tokens_as_token_ids=True,
    )  # fmt: skip
    assert len(choices) == 8
    for choice in choices:
        response = choice["token_ids"]
        assert choice["prompt_token_ids"] == ids
        expected = logprobs(model, ids + response)[len(ids) - 1 : -1]
        sampled = torch.tensor(choice["logprobs"]["token_logprobs"], dtype=torch.float64)
        assert (sampled - expected.gather(1, torch.tensor(response)[:, None])[:, 0]).abs().max() <= PARITY
        for place, top in enumerate(choice["logprobs"]["top_logprobs"]):
            named = {int(name.removeprefix("token_id:")): value for name, value in top.items()}
            best = expected[place].topk(5)
            assert set(best.indices.tolist()) <= set(named) and len(named) <= 6  # the drawn one is added
            assert max(abs(expected[place, token] - value) for token, value in named.items()) <= PARITY


def _the_ranks_and_logprobs_of_a_prompt_are_those_of(model, tokenizer, engine, ids):
    """What `prompt_logprobs` holds: nothing for the first token, then token id → log-prob, rank from 1, text."""
    (choice,) = ask(engine, prompt=ids, max_tokens=1, temperature=1.0, prompt_logprobs=5)
    first, *rest = choice["prompt_logprobs"]
    assert first is None and len(rest) == len(ids) - 1
    for expected, token, entry in zip(logprobs(model, ids), ids[1:], rest, strict=False):
        assert 5 <= len(entry) <= 6 and str(token) in entry
        for name, said in entry.items():
            assert set(said) == {"logprob", "rank", "decoded_token"}
            assert abs(expected[int(name)] - said["logprob"]) <= PARITY
            assert said["decoded_token"] == tokenizer.decode([int(name)])
            assert said["rank"] == 1 + int((expected > expected[int(name)]).sum())


def test_a_server_whose_core_is_killed_is_named_and_leaves_no_process(policy, tmp_path, mark):
    engine = engine_of(policy, tmp_path)
    try:
        core = max(started(mark), key=lambda process: len(process.parents()))
        core.kill()
        psutil.wait_procs([core], timeout=60)
        with pytest.raises(ServerUnusable, match=r"has failed|refuses|server"):
            engine.generate(PROMPTS, 4, Draws(max_tokens=8), seed=1)
    finally:
        engine.close()
    assert started(mark) == []
