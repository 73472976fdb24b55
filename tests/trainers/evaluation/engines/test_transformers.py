"""The engine in this process, against the exact probability, one prompt at a time, and a server of the same model."""

from __future__ import annotations

import numpy as np
import pytest
from openai_server import OpenAIServer
from simko.trainers.evaluation.engines.base import Draws, before_stop
from simko.trainers.evaluation.engines.server import ServerEngine, Service
from simko.trainers.evaluation.engines.transformers import TransformersEngine
from simko.trainers.evaluation.exact import exact_success
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
