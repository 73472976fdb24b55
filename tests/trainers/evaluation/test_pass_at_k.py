"""pass@k: the exact and the sampled estimate are each other's oracle; nothing of training is disturbed."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.store.analysis.estimators import pass_at_k, pass_at_k_exact
from simko.store.layout.schema import EVALS
from simko.trainers.errors import EvaluationImpossible, HeldoutMissing
from simko.trainers.evaluation.exact import exact_success
from simko.trainers.evaluation.pass_at_k import K_GRID, evaluate, sampled_curve
from simko.trainers.models.loading import load_model
from simko.trainers.tasks import task_for
from simko.trainers.tasks.base import Disagreement
from tiny import Listed

PROBLEMS = 40


@pytest.fixture(scope="module")
def task():
    return task_for("countdown")


@pytest.fixture(scope="module")
def policy():
    return load_model()


@pytest.fixture(scope="module")
def both(policy, task):
    """Exact and sampled pass@k of the same problems, n = 256."""
    return evaluate(*policy, task, samples=256, limit=PROBLEMS, temperature=1.0, seed=11)


def rows_of(result, source):
    chosen = [i for i, s in enumerate(result.columns["source"]) if s == source]
    return {name: [column[i] for i in chosen] for name, column in result.columns.items()}


def success_by_hand(model, tokenizer, prompt, answers, temperature):
    """One unpadded forward per answer in float64, product of the probabilities word for word and of the end."""
    total = 0.0
    for answer in answers:
        start = tokenizer(prompt)["input_ids"]
        ids = [*start, *tokenizer.convert_tokens_to_ids(answer.split()), tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0].double() / temperature
        probability = torch.softmax(logits, -1)
        total += math.prod(float(probability[t - 1, ids[t]]) for t in range(len(start), len(ids)))
    return total


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_exact_success_is_the_sum_of_the_answers_probabilities(policy, task, temperature):
    rows = task.heldout.select(range(0, 276, 35))
    result = exact_success(*policy, rows["prompt"], rows["answer"], temperature=temperature, batch_size=5)
    hand = [success_by_hand(*policy, r["prompt"], r["answer"], temperature) for r in rows]
    assert result == pytest.approx(hand, rel=1e-4)


def test_exact_success_does_not_mind_prompts_and_answers_of_different_lengths(tiny_llama, tiny_tokenizer):
    model = tiny_llama().eval()
    prompts, answers = ["1", "2 3 4 5", "6 7"], [["1 2 3", "4"], [], ["8", "9 10"]]
    result = exact_success(model, tiny_tokenizer, prompts, answers)
    hand = [success_by_hand(model, tiny_tokenizer, p, a, 1.0) for p, a in zip(prompts, answers, strict=True)]
    assert result == pytest.approx(hand, rel=1e-4)
    assert result[1] == 0.0


def test_sampled_agrees_with_exact_problem_by_problem(both):
    """Each problem's share of right responses lies within 4.5 standard errors (40 draws: a miss in 3 700 seeds)."""
    p = np.array(rows_of(both, "exact")["success"])
    sampled = rows_of(both, "sampled")
    n, c = np.array(sampled["n"]), np.array(sampled["c"])
    assert rows_of(both, "exact")["prompt_id"] == sampled["prompt_id"]
    assert (n == 256).all()
    assert (np.abs(c / n - p) <= 4.5 * np.sqrt(p * (1 - p) / n) + 1 / n).all()


@pytest.mark.parametrize("k", [1, 2, 4, 8, 16, 32, 64])
def test_sampled_agrees_with_exact_at_each_k(both, k):
    """Within three standard errors of the draws: Monte Carlo over c ~ Binomial(256, p_i), an estimator of its own."""
    p = np.array(rows_of(both, "exact")["success"])
    c = np.random.default_rng(0).binomial(256, p, size=(400, PROBLEMS))
    log_none = np.full((257,), -np.inf)
    for right in range(257 - k):
        log_none[right] = sum(math.log((256 - right - i) / (256 - i)) for i in range(k))
    means = (1 - np.exp(log_none[c])).mean(1)
    exact, sampled = both.curves["exact"][k], both.curves["sampled"][k]
    assert abs(sampled.mean - exact.mean) <= 3 * means.std()
    assert sampled.low <= exact.mean <= sampled.high
    assert sampled.low < sampled.mean < sampled.high


def test_the_columns_are_those_of_the_evals_table(both):
    assert set(both.columns) == {"split", "source", "prompt_id", "n", "c", "n_unjudged", "success"}
    assert set(both.columns) < {c.name for c in EVALS}  # the others belong to evaluations beside training
    assert {len(column) for column in both.columns.values()} == {len(both)} == {2 * PROBLEMS}
    exact, sampled = rows_of(both, "exact"), rows_of(both, "sampled")
    assert set(both.columns["split"]) == {"heldout"}
    assert {*exact["n"], *exact["c"], *exact["n_unjudged"]} == {None}
    assert {*sampled["success"]} == {None}
    assert {*sampled["n_unjudged"]} == {0}


def test_the_curve_shown_is_the_exact_one(both):
    assert both.pass_at_k == {k: both.curves["exact"][k].mean for k in K_GRID}
    assert both.line.startswith(f"pass@1 {both.pass_at_k[1]:.3f} [")
    assert both.line.endswith("(exact, 40 problems)")


def test_every_evaluation_with_a_limit_sees_the_same_problems(policy, task, both):
    again = evaluate(*policy, task, limit=PROBLEMS, temperature=1.0, seed=99)
    assert again.columns["prompt_id"] == rows_of(both, "exact")["prompt_id"]
    assert len(evaluate(*policy, task, limit=1000)) == 276


def test_the_seed_decides_the_draws(policy, task):
    counts = [evaluate(*policy, task, samples=8, limit=20, seed=s, exact=False).columns["c"] for s in (1, 1, 2)]
    assert counts[0] == counts[1] != counts[2]


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_random_state_are_left_as_they_were(policy, task, training):
    model, tokenizer = policy
    model.train(training)

    def random_states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = random_states()
    evaluate(model, tokenizer, task, samples=2, limit=3)
    assert model.training is training
    assert random_states() == before
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_the_mode_comes_back_when_scoring_fails(policy, task, monkeypatch):
    model, tokenizer = policy
    model.train()
    monkeypatch.setattr("simko.trainers.evaluation.exact._response_logprob", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(model, tokenizer, task, limit=1)
    assert model.training


def test_an_evaluation_says_how_often_the_graders_disagree(tiny_llama, tiny_tokenizer):
    class Judged(Listed):
        disagreement = Disagreement(judged=8, right_for_second=2, wrong_for_second=1)

    assert "disagree" not in evaluate(tiny_llama(), tiny_tokenizer, Listed(), samples=4).line
    line = evaluate(tiny_llama(), tiny_tokenizer, Judged(), samples=4).line
    assert "graders disagree on 3 of 8 responses (the paper's rules: 2 more right, 1 more wrong)" in line


def test_unjudged_responses_are_no_part_of_n(tiny_llama, tiny_tokenizer):
    result = evaluate(tiny_llama(), tiny_tokenizer, Listed(), samples=4)
    assert (result.columns["n"], result.columns["c"]) == ([4, 4, 0], [4, 0, 0])
    assert result.columns["n_unjudged"] == [0, 0, 4]
    assert result.pass_at_k == {1: 0.5, 2: 0.5, 4: 0.5}
    assert result.line.endswith("4 unjudged")


def test_what_cannot_be_evaluated_is_refused(policy, task, tiny_llama, tiny_tokenizer):
    with pytest.raises(EvaluationImpossible, match="sample"):
        evaluate(tiny_llama(), tiny_tokenizer, Listed())
    with pytest.raises(EvaluationImpossible, match="cannot be enumerated"):
        evaluate(tiny_llama(), tiny_tokenizer, Listed(), samples=4, exact=True)
    with pytest.raises(EvaluationImpossible):
        evaluate(*policy, task, exact=False)
    empty = Listed()
    empty.heldout = None
    with pytest.raises(HeldoutMissing, match="--eval_dataset"):
        evaluate(tiny_llama(), tiny_tokenizer, empty, samples=4)


def test_a_sampled_curve_ends_where_the_draws_do():
    curve = sampled_curve([8, 8, 3], [2, 0, 3])
    assert list(curve) == [1, 2, 4, 8]
    assert curve[1].mean == pytest.approx((2 / 8 + 0 + 1) / 3)
    assert curve[2].mean == pytest.approx((1 - (6 * 5) / (8 * 7) + 0 + 1) / 3)
    assert curve[8].mean == 0.5  # of the two problems with eight responses


@pytest.mark.parametrize(("n", "largest"), [(255, 128), (300, 256), (512, 512), (1024, 1024)])
def test_a_sampled_curve_goes_as_far_as_the_draws(n, largest):
    curve = sampled_curve([n, n], [1, 3])
    assert max(curve) == largest
    expected = [1 - math.comb(n - c, largest) / math.comb(n, largest) for c in (1, 3)]
    assert curve[largest].mean == pytest.approx(sum(expected) / 2, rel=1e-9)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=6), k=st.sampled_from(K_GRID))
def test_exact_pass_at_k_is_one_minus_the_chance_of_k_misses(p, k):
    """Against 1 − (1 − p)^k in exact rational arithmetic."""
    expected = [float(1 - (1 - Fraction(x)) ** k) for x in p]
    assert pass_at_k_exact(p, k) == pytest.approx(expected, rel=1e-12, abs=1e-300)


@settings(max_examples=30)
@given(p=st.floats(0, 1), k=st.integers(1, 12))
def test_the_unbiased_estimator_has_the_exact_value_as_its_mean(p, k):
    """Σ_c Binomial(c; n, p) · pass@k(n, c) = 1 − (1 − p)^k, n = 12."""
    n = 12
    weights = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    mean = float(np.dot(weights, pass_at_k(np.full(n + 1, n), np.arange(n + 1), k)))
    assert mean == pytest.approx(float(pass_at_k_exact([p], k)[0]), abs=1e-12)


def test_a_stray_special_token_is_no_part_of_a_right_answer(policy):
    """TRL drops special tokens from texts; a policy could hide behind them and never say the answer itself."""
    from simko.trainers.engine.rewards import TaskReward
    from simko.trainers.evaluation.decoding import response_texts

    tokenizer, task = policy[1], task_for("countdown")
    clean = tokenizer("3 + 4 * 5 <eos>", add_special_tokens=False)["input_ids"]
    stray = tokenizer("3 + <bos> 4 * 5 <eos>", add_special_tokens=False)["input_ids"]
    padded = [*clean, tokenizer.pad_token_id, tokenizer.pad_token_id]
    assert response_texts(tokenizer, [stray], exact=False) == ["3 + 4 * 5"]
    texts = response_texts(tokenizer, [clean, padded, stray], exact=True)
    assert texts == ["3 + 4 * 5", "3 + 4 * 5", "3 + <bos> 4 * 5"]
    reward = TaskReward(task, tokenizer)
    assert reward(["3 + 4 * 5"] * 3, [["3 + 4 * 5"]] * 3, [clean, padded, stray]) == [1.0, 1.0, 0.0]
