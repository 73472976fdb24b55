"""The engine in this process, against the exact probability, one prompt at a time, and a server of the same model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
from openai_server import OpenAIServer
from simko.trainers.errors import EvaluationImpossible
from simko.trainers.evaluation.benchmarks import Asked, load_benchmark
from simko.trainers.evaluation.engines.base import Draws, before_stop
from simko.trainers.evaluation.engines.server import ServerEngine, Service
from simko.trainers.evaluation.engines.transformers import TransformersEngine
from simko.trainers.evaluation.exact import exact_success
from simko.trainers.evaluation.measuring import drawn, judged_rows
from simko.trainers.evaluation.units import Unit
from simko.trainers.models.loading import load_model
from simko.trainers.tasks import task_for

DRAWS = Draws(max_tokens=8, verbatim=True)


@pytest.fixture(scope="module")
def policy():
    return load_model()


@pytest.fixture(scope="module")
def problems():
    rows = task_for("countdown").heldout.select(range(30))
    return list(rows["prompt"]), list(rows["answer"])


def texts(result):
    return [[completion.text for completion in row] for row in result]


def test_one_seed_gives_the_same_draws_in_the_order_of_the_prompts(policy):
    engine = TransformersEngine(*policy)
    prompts = ["1 2 3 6", "1 2", "1 2 3 6", "5"]
    first = engine.generate(prompts, 4, DRAWS, seed=3)
    assert texts(first) == texts(engine.generate(prompts, 4, DRAWS, seed=3))
    assert texts(first) != texts(engine.generate(prompts, 4, DRAWS, seed=4))
    assert [len(row) for row in first] == [4, 4, 4, 4]


def test_batches_hold_no_more_tokens_than_they_may(policy):
    engine = TransformersEngine(*policy, batch_tokens=40)
    ids = [[1] * 12, [1] * 2, [1] * 40]
    batches = engine._batches(ids, 3, 8)
    assert batches == [[2], [2], [2], [0, 0], [0, 1], [1, 1]]
    small = engine.generate(["1 2 3 6", "2 5 7 14"], 5, DRAWS, seed=1)
    assert [len(row) for row in small] == [5, 5]


def test_tokens_and_truncation_are_those_of_the_response(policy):
    for row in TransformersEngine(*policy).generate(["1 2 3 6", "2 5 7 14"], 30, Draws(max_tokens=6), seed=1):
        for completion in row:
            words = len(completion.text.split())
            assert completion.n_tokens == words + (not completion.truncated)
            assert completion.truncated == (words == 6)


def test_a_stop_text_ends_a_response_and_is_not_part_of_it(policy):
    draws = Draws(max_tokens=8, stop=(" +",))
    result = TransformersEngine(*policy).generate(["1 2 3 6"], 40, draws, seed=1)[0]
    stopped = [completion for completion in result if "+" not in completion.text and completion.n_tokens < 6]
    assert stopped and not any(" +" in completion.text or completion.truncated for completion in stopped)
    assert before_stop("ab stop cd end", ("end", "stop")) == "ab "
    assert before_stop("ab", ("stop",)) == "ab"


def test_a_context_that_is_too_short_is_named():
    from transformers import GPT2Config, GPT2LMHeadModel

    words = tiny.tokenizer()
    config = GPT2Config(vocab_size=19, n_positions=8, n_embd=8, n_layer=1, n_head=1, bos_token_id=1, eos_token_id=2)
    engine = TransformersEngine(GPT2LMHeadModel(config), words)
    with pytest.raises(EvaluationImpossible, match="fewer --max_tokens"):
        engine.generate(["1 2 3 4 5"], 20, Draws(max_tokens=20), seed=1)


def test_both_engines_draw_from_the_policy(policy, problems):
    """Each problem's success lies where the exact probability says, for either engine."""
    prompts, answers = problems
    task, n = task_for("countdown"), 48
    exact = exact_success(*policy, prompts, answers)
    with OpenAIServer(*policy) as server:
        service = Service(per_request=n, concurrency=2)
        served = ServerEngine([server.url], tokenizer=policy[1], service=service)
        drawn = [engine.generate(prompts, n, DRAWS, seed=5) for engine in (TransformersEngine(*policy), served)]
        served.close()
    for result in drawn:
        right = [
            sum(verdict == "right" for verdict in task.judge([c.text for c in row], [answer] * n))
            for row, answer in zip(result, answers, strict=True)
        ]
        z = (np.array(right) - n * exact) / np.sqrt(n * exact * (1 - exact))
        assert abs(z.mean()) < 4 / np.sqrt(len(z))
        assert np.abs(z).max() < 5


@pytest.mark.slow
def test_both_engines_agree_on_a_math_benchmark(policy, tmp_path):
    """Free answers, judged by the grader of math: rates of 16 problems differ by no more than chance."""
    local = TransformersEngine(*policy)
    problems = [f"{a} {b} {a + b} {target}" for a in (1, 2, 3, 5) for b in (1, 4) for target in (8, 12)]
    rows = "".join(json.dumps({"problem": problem, "answer": "0"}) + "\n" for problem in problems)
    (tmp_path / "rows.jsonl").write_text(rows)
    asked = Asked(samples=64, max_tokens=8, temperature=0.6, dataset=str(tmp_path / "rows.jsonl"))
    benchmark = load_benchmark("math500", asked, policy[1])
    likely = [row[0].text for row in local.generate(benchmark.prompts, 1, benchmark.draws, seed=11)]
    benchmark = replace(benchmark, answers=likely)  # so that some responses are right
    unit = Unit(0, 0, len(benchmark.prompts), 0, 64)
    with OpenAIServer(*policy) as server:
        served = ServerEngine([server.url], tokenizer=policy[1], service=Service(per_request=64, concurrency=2))
        counted = [judged_rows(benchmark, unit, drawn(engine, benchmark, unit))[0] for engine in (local, served)]
        served.close()
    benchmark.task.close()
    (n_1, c_1), (n_2, c_2) = ((np.array(rows["n"]), np.array(rows["c"])) for rows in counted)
    rate = (c_1 + c_2) / (n_1 + n_2)
    spread = np.sqrt(rate * (1 - rate) * (1 / n_1 + 1 / n_2))
    z = ((c_1 / n_1 - c_2 / n_2) / np.where(spread > 0, spread, 1.0))[spread > 0]
    print("math: pass@1", (c_1 / n_1).mean(), (c_2 / n_2).mean(), "z", z.round(2))
    assert len(z) >= 4 and abs(z.mean()) < 4 / np.sqrt(len(z)) and np.abs(z).max() < 5
