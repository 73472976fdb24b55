"""The server engine against a real server on loopback: what it asks for, what it takes, and every fault by its name."""

from __future__ import annotations

import socket

import pytest
from openai_server import EXTRAS, OpenAIServer
from simko.trainers.errors import ServerUnusable
from simko.trainers.evaluation.engines.base import Draws
from simko.trainers.evaluation.engines.server import ServerEngine, Service
from simko.trainers.models.loading import load_model

PROMPTS = ["1 2 3 6", "2 5 7 14", "1 1 9 11"]
DRAWS = Draws(max_tokens=8, verbatim=True)
QUICK = Service(per_request=4, concurrency=4, timeout=30.0, retries=3, first_wait=0.01)


@pytest.fixture(scope="module")
def policy():
    return load_model()


@pytest.fixture
def server(policy):
    with OpenAIServer(*policy) as server:
        yield server


@pytest.fixture
def engine(server, policy):
    engine = ServerEngine([server.url], tokenizer=policy[1], service=QUICK)
    yield engine
    engine.close()


def texts(result):
    return [[completion.text for completion in row] for row in result]


def test_token_ids_go_out_and_every_response_comes_back(engine, server, policy):
    result = engine.generate(PROMPTS, 10, DRAWS, seed=1)
    assert [len(row) for row in result] == [10, 10, 10]
    assert {tuple(request["prompt"]) for request in server.requests} == set(map(tuple, policy[1](PROMPTS)["input_ids"]))
    assert sorted(request["n"] for request in server.requests) == [2, 2, 2, 4, 4, 4, 4, 4, 4]
    assert len({request["seed"] for request in server.requests}) == 9
    for completion in (completion for row in result for completion in row):
        assert 1 <= completion.n_tokens <= 8
        assert completion.truncated == (completion.n_tokens == 8 and len(completion.text.split()) == 8)


def test_one_seed_gives_the_same_draws_and_another_others(engine):
    first, again, other = (texts(engine.generate(PROMPTS, 6, DRAWS, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("missing", [*EXTRAS, "all"])
def test_what_a_server_does_not_know_is_left_away(policy, missing):
    knows = [extra for extra in EXTRAS if missing not in (extra, "all")]
    with OpenAIServer(*policy, knows=knows) as server:
        engine = ServerEngine([server.url], tokenizer=policy[1], service=QUICK)
        result = engine.generate(PROMPTS, 5, DRAWS, seed=1)
        refused = sum(server.unknown(request) is not None for request in server.requests)
        engine.generate(PROMPTS, 5, DRAWS, seed=2)
        engine.close()
    assert all(len(row) == 5 and all(completion.n_tokens for completion in row) for row in result)
    assert refused <= 4  # found out once, by the first request
    assert sum(server.unknown(request) is not None for request in server.requests) == refused


def test_without_a_tokenizer_prompts_are_texts(server):
    engine = ServerEngine([server.url], service=QUICK)
    assert all(row for row in engine.generate(PROMPTS, 2, DRAWS, seed=1))
    assert {request["prompt"] for request in server.requests} == set(PROMPTS)
    engine.close()


@pytest.mark.parametrize("fault", ["500", "429", "503", "drop"])
def test_what_passes_is_tried_again(engine, server, fault):
    server.faults += [fault, fault]
    assert [len(row) for row in engine.generate(PROMPTS, 4, DRAWS, seed=1)] == [4, 4, 4]


def test_fewer_responses_than_asked_for_are_asked_for_again(engine, server):
    server.faults += ["fewer", "fewer"]
    assert [len(row) for row in engine.generate(PROMPTS, 4, DRAWS, seed=1)] == [4, 4, 4]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (["500"] * 9, "has failed 4 times, at last with: 500 a fault by request"),
        (["404"], "refuses the request: 404"),
        (["garbage"], "no JSON"),
        (["empty"], "without any response"),
    ],
)
def test_what_does_not_pass_is_named(engine, server, faults, words):
    server.faults += faults
    with pytest.raises(ServerUnusable, match=words):
        engine.generate(PROMPTS, 4, DRAWS, seed=1)


def test_a_request_that_no_server_takes_is_named_with_its_reason(engine):
    with pytest.raises(ServerUnusable, match="maximum context length is 4096"):
        engine.generate(PROMPTS, 4, Draws(max_tokens=5000), seed=1)


def test_a_prompt_that_is_refused_later_is_named_as_well(engine, server):
    engine.generate(PROMPTS, 1, DRAWS, seed=1)
    server.faults.append("400")
    with pytest.raises(ServerUnusable, match="refuses the request: 400 a fault by request"):
        engine.generate(PROMPTS, 4, DRAWS, seed=1)


def test_a_slow_answer_is_named(server, policy):
    server.slow_seconds = 5.0
    engine = ServerEngine([server.url], tokenizer=policy[1], service=Service(timeout=0.2, retries=1, first_wait=0.01))
    server.faults += ["slow"] * 4
    with pytest.raises(ServerUnusable, match=r"no answer within 0.2 s.*--timeout"):
        engine.generate(PROMPTS, 1, DRAWS, seed=1)
    engine.close()


def test_a_stop_text_ends_a_response(engine):
    result = engine.generate(PROMPTS, 20, Draws(max_tokens=8, stop=(" + ",)), seed=1)
    assert not any(" + " in completion.text for row in result for completion in row)
    assert any(completion.text and not completion.truncated for row in result for completion in row)


def test_a_server_that_is_down_slow_or_serves_another_model_is_told_at_the_start(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServerUnusable, match=f"no server answers at http://127.0.0.1:{port}/v1"):
        ServerEngine([f"http://127.0.0.1:{port}/v1"])
    with pytest.raises(ServerUnusable, match=r"serves tiny, not tinny; did you mean --model tiny\?"):
        ServerEngine([server.url], model="tinny")
    server.faults.append("slow")
    server.slow_seconds = 5.0
    with pytest.raises(ServerUnusable, match=r"not answered within 0\.2 s"):
        ServerEngine([server.url], service=Service(timeout=0.2))
    with pytest.raises(ServerUnusable, match="answers 404 to /models; the address ends in /v1"):
        ServerEngine([server.url.removesuffix("/v1")])
    with pytest.raises(ServerUnusable, match="check --server"):
        ServerEngine(["nowhere"])


def test_a_key_comes_from_the_environment(policy, monkeypatch):
    with OpenAIServer(*policy, key="secret") as server:
        monkeypatch.delenv("MY_KEY", raising=False)
        with pytest.raises(ServerUnusable, match="asks for a key"):
            ServerEngine([server.url], service=Service(api_key_variable="MY_KEY"))
        monkeypatch.setenv("MY_KEY", "secret")
        engine = ServerEngine([server.url], tokenizer=policy[1], service=Service(api_key_variable="MY_KEY"))
        assert engine.generate(PROMPTS[:1], 2, DRAWS, seed=1)[0]
        engine.close()
