"""Where the gradient comes from, what became of the problems, how many answers are left: SQL against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import simko.store
from simko.store.demo.small_run import write_demonstration_run
from simko.store.layout.run import create_or_resume
from simko.store.reading.named_queries import named_query
from simko.store.writing.batch import Credit, TokenBatch
from simko.store.writing.recorder import Recorder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_demonstration_run(folder, name="simko", method="simko", steps=30, responses=32)
    return folder / "simko"


def frame(folder, name, **given):
    query = named_query(name)
    with simko.store.open(folder) as connection:
        parameters = query.parameters({key: str(value) for key, value in given.items()})
        return connection.sql(query.sql, params=parameters or None).df()


def table(folder, sql):
    with simko.store.open(folder) as connection:
        return connection.sql(sql).df()


@pytest.mark.parametrize("weighting", ["uniform", "softmax"])
def test_the_gradient_is_that_of_whole_distributions(weighting, tmp_path):
    """Vocabulary 7, K = 4: smoothed and not; the sampled token among the smoothed candidates, beside them, beyond K."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(6, 8, 7)) * 2
    logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
    order = np.argsort(-logp, -1)
    sampled = rng.integers(7, size=(6, 8))
    weight, smoothing = rng.normal(size=(6, 8)), np.where(rng.random((6, 8)) < 0.5, 0.0, 0.3)
    p = np.exp(logp)
    batch = TokenBatch(
        step=1, response_id=np.arange(6), verdict=np.zeros(6, np.int8), mask=np.ones((6, 8), bool), token_id=sampled,
        logprob=np.take_along_axis(logp, sampled[..., None], -1)[..., 0].astype(np.float32),
        rank=np.ones((6, 8), int), entropy=-(p * logp).sum(-1).astype(np.float32),
        collision=(p**2).sum(-1).astype(np.float32), forking=np.zeros((6, 8), bool),
        top_logprob=np.take_along_axis(logp, order[..., :4], -1).astype(np.float32), top_id=order[..., :4],
        credit=Credit(weight, np.ones((6, 8)), smoothing, smoothing_k=3, smoothing_weighting=weighting),
    )  # fmt: skip
    info = {"smoothing": {"k": 3, "weighting": weighting}}
    create_or_resume(tmp_path / "r", info, resume=False)
    with Recorder(tmp_path / "r", k=4, attempt=1) as recorder:
        recorder.put(batch)
        recorder.end_step(1)
    answer = table(tmp_path / "r", "SELECT response_id, position, gradient FROM token_gradient ORDER BY 1, 2")
    share = np.zeros_like(p)
    held = np.ones((6, 8, 3)) if weighting == "uniform" else np.take_along_axis(p, order[..., :3], -1)
    np.put_along_axis(share, order[..., :3], held / held.sum(-1, keepdims=True), -1)
    target = (1 - smoothing)[..., None] * np.eye(7)[sampled] + smoothing[..., None] * share
    expected = np.abs(weight) * np.linalg.norm(target - p, axis=-1)
    np.testing.assert_allclose(answer.gradient, expected.ravel(), rtol=1e-5)


def test_gradient_shares_add_up_and_are_those_of_the_rows(run):
    answer = frame(run, "gradient-share")
    assert answer.early_share.sum() == pytest.approx(1) and answer.late_share.sum() == pytest.approx(1)
    rows = table(run, "SELECT * FROM token_gradient WHERE gradient IS NOT NULL")
    assert answer.n_tokens.sum() == len(rows)
    late = rows[rows.step >= 30 - 5]
    second = late[(late["rank"] == 2) & (late.probability >= 0.1) & (late.probability < 0.5)]
    row = answer[(answer["rank"] == 2) & (answer.probability_from == 0.1)]
    assert row.late_share.item() == pytest.approx(second.gradient.sum() / late.gradient.sum(), rel=1e-6)


def test_overtraining_share(run):
    responses = table(run, "SELECT * FROM responses ORDER BY generation")
    tokens = table(run, "SELECT step, response_id, weight FROM tokens WHERE weight IS NOT NULL")
    before, last = {}, {}
    for (_, prompt), group in responses.groupby(["generation", "prompt_id"], sort=True):
        right, judged = (group.verdict == "right").sum(), (group.verdict != "unjudged").sum()
        for response in group.response_id:
            before[response] = last.get(prompt)
        last[prompt] = (right, judged)
    sums = {}
    for row in tokens.itertuples():
        entry = sums.setdefault(row.step, [0.0, 0.0, 0.0, 0.0])
        visit = before[row.response_id]
        entry[0] += abs(row.weight)
        entry[1] += abs(row.weight) * (visit is not None and visit[0] > 0)
        entry[2] += abs(row.weight) * (visit is not None and visit[0] > 0 and visit[0] == visit[1])
        entry[3] += abs(row.weight) * (visit is None)
    answer = frame(run, "overtraining-share").fillna(0).set_index("step")
    assert answer.solved_before.max() > 0 and answer.first_visit.iloc[0] == 1
    for step, (whole, solved, mastered, first) in sums.items():
        row = answer.loc[step]
        expected = [part / whole if whole else 0 for part in (solved, mastered, first)]
        assert [row.solved_before, row.mastered_before, row.first_visit] == pytest.approx(expected, rel=1e-5)


def test_problem_transitions(run):
    responses = table(run, "SELECT * FROM responses WHERE verdict <> 'unjudged'")
    early, late = responses[responses.step <= 15.5], responses[responses.step > 15.5]
    both = set(early.prompt_id) & set(late.prompt_id)
    first = set(early[early.verdict == "right"].prompt_id)
    last = set(late[late.verdict == "right"].prompt_id)
    expected = {
        "preserved": len(both & first & last), "gained": len((both & last) - first),
        "lost": len((both & first) - last), "never": len(both - first - last),
    }  # fmt: skip
    answer = frame(run, "problem-transitions").set_index("transition")
    assert dict(answer.n_problems) == {name: n for name, n in expected.items() if n}
    assert answer.share.sum() == pytest.approx(1)
    ever = set(responses[responses.verdict == "right"].prompt_id)
    assert answer.once_solved.sum() == len((both - last) & ever)


def test_distinct_responses(run):
    rows = table(
        run, "SELECT step, response_id, sum(logprob::DOUBLE) AS logprob, count(*) AS n FROM tokens GROUP BY ALL"
    )
    responses = table(run, "SELECT response_id, n_tokens, verdict FROM responses").set_index("response_id")
    answer = frame(run, "distinct-responses", k=16).set_index("step")
    for step, group in rows.groupby("step"):
        whole = [(math.exp(r.logprob), responses.loc[r.response_id]) for r in group.itertuples()]
        distinct = [sum((1 - pi) ** j for j in range(16)) for pi, _ in whole]  # the geometric sum of the formula
        right = [d * (response.verdict == "right") for d, (_, response) in zip(distinct, whole, strict=True)]
        assert answer.distinct_responses[step] == pytest.approx(np.mean(distinct), rel=1e-4)
        assert answer.distinct_right_responses[step] == pytest.approx(np.mean(right), rel=1e-4)


def test_distinct_responses_estimate_what_enumeration_gives():
    """Unbiased: over all outcomes of one draw the formula's expectation is the expected number of distinct outcomes."""
    pi = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
    k = 6
    expected = (1 - (1 - pi) ** k).sum()
    assert (pi * (1 - (1 - pi) ** k) / pi).sum() == pytest.approx(expected)
    draws = np.random.default_rng(0).choice(5, (20_000, k), p=pi)
    assert np.mean([len(set(row)) for row in draws]) == pytest.approx(expected, abs=0.02)


def test_tail_mass(run):
    rows = table(run, "SELECT * FROM tokens")
    answer = frame(run, "tail-mass").set_index("step")
    p = np.exp(np.stack(rows.logp.to_numpy()).astype(float))
    expected = {
        "tail_mass": 1 - p.sum(1), "renyi_2": -np.log(rows.collision.to_numpy(float)),
        "renyi_inf": -rows.logp_1.to_numpy(float), "ratio_2_1": p[:, 1] / p[:, 0],
    }  # fmt: skip
    for name, values in expected.items():
        means = [values[rows.step == step].mean() for step in answer.index]
        np.testing.assert_allclose(answer[name], means, rtol=1e-4, atol=1e-7)
