"""The queries that come with simko: they run anywhere, and their figures are those of the rows."""

import functools

import numpy as np
import pandas as pd
import pytest
import simko.store
from simko.store.demo.small_run import write_demonstration_run
from simko.store.errors import QueryFailed
from simko.store.reading.named_queries import named_queries, named_query


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for method in ("grpo", "simko"):
        write_demonstration_run(folder, name=method, method=method, steps=40, responses=32)
    return folder


opened = functools.cache(simko.store.open)
"""Folders that nobody writes to any more are opened once."""


def frame(folder, name, **given):
    query = named_query(name)
    parameters = query.parameters({key: str(value) for key, value in given.items()})
    return opened(folder).sql(query.sql, params=parameters or None).df()


def table(folder, name):
    return opened(folder).sql(f"SELECT * FROM {name}").df()


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return tmp_path_factory.mktemp("empty")


@pytest.mark.parametrize("name", named_queries())
def test_it_answers_for_every_run_and_nothing_for_none(name, runs, empty):
    answer = frame(runs, name)
    assert set(answer.run) == {"grpo", "simko"}
    assert not answer.isna().all().drop(["first_incomplete", "last_seen", "benchmark", "noise"], errors="ignore").any()
    assert len(frame(empty, name)) == 0


@pytest.mark.parametrize("name", named_queries())
def test_it_says_in_a_line_what_it_is(name):
    query = named_query(name)
    assert query.sql.startswith(f"-- {query.description}\n")
    assert 20 < len(query.description) < 130 and not query.description.endswith(".")
    assert all(f"${parameter}" in query.sql.split("\nSELECT", 1)[-1] + query.sql for parameter in query.defaults)


def test_top_forking_tokens(runs):
    rows = table(runs, "tokens")
    rows = rows[(rows.run == "grpo") & rows.forking]
    answer = frame(runs, "top-forking-tokens", limit=100).query("run == 'grpo'").set_index("token_id")
    expected = rows.groupby("token_id")
    assert dict(answer.n_forking) == dict(expected.size())
    assert list(answer.n_forking) == sorted(answer.n_forking, reverse=True)
    np.testing.assert_allclose(answer.entropy.sort_index(), expected.entropy.mean(), rtol=1e-5)
    probability = np.exp(rows.logp_1).groupby(rows.token_id).mean()
    np.testing.assert_allclose(answer.probability_1.sort_index(), probability, rtol=1e-5)


def test_risen_rank_1(runs):
    rows = table(runs, "tokens").query("run == 'simko'")
    rows = rows.assign(p=np.exp(rows.logp_1))
    early, late = rows[rows.step <= 1 + 7], rows[rows.step >= 40 - 7]
    answer = frame(runs, "risen-rank-1", least=5, limit=100).query("run == 'simko'").set_index("token_id")
    rise = (late.groupby("token_id").p.mean() - early.groupby("token_id").p.mean())[answer.index]
    np.testing.assert_allclose(answer.rise, rise, rtol=1e-4, atol=1e-6)
    assert answer.rise.is_monotonic_decreasing and answer.rise.iloc[0] > 0


def test_sampled_not_rank_1(runs):
    rows = table(runs, "tokens").query("run == 'grpo'")
    answer = frame(runs, "sampled-not-rank-1", limit=10_000).query("run == 'grpo'").set_index("response_id")
    expected = rows[rows["rank"] > 1].groupby("response_id")
    assert dict(answer.n_not_rank_1) == dict(expected.size())
    assert dict(answer.lowest_rank) == dict(expected["rank"].max())


def test_same_entropy(runs):
    rows = table(runs, "tokens").query("run == 'grpo'")
    answer = frame(runs, "same-entropy").query("run == 'grpo'").set_index("entropy_from")
    bins = np.floor(rows.entropy / 0.25) * 0.25
    assert dict(answer.n_tokens) == dict(rows.groupby(bins).size())
    spread = np.exp(rows.logp_1).groupby(bins).quantile(0.95)
    np.testing.assert_allclose(answer.probability_1_p95, spread, rtol=1e-5)


def test_by_position_counts_every_token_of_both_ends_once(runs):
    tokens = table(runs, "tokens")
    ends = tokens[(tokens.step <= 8) | (tokens.step >= 33)]
    answer = frame(runs, "by-position")
    assert answer.groupby("run").n_tokens.sum().to_dict() == ends.groupby("run").size().to_dict()
    assert answer.tenth.between(0, 9).all()
    first = ends[(ends.run == "grpo") & (ends.position == 0) & (ends.step <= 8)]
    row = answer[(answer.run == "grpo") & (answer.tenth == 0)]
    assert row.early_logp_1.item() == pytest.approx(first.logp_1.mean(), rel=1e-5)


def test_by_difficulty_puts_every_prompt_where_its_first_rollouts_put_it(runs):
    responses = table(runs, "responses").query("run == 'grpo' and verdict != 'unjudged'")
    first = responses[responses.step == responses.groupby("prompt_id").step.transform("min")]
    solved = (first.verdict == "right").groupby(first.prompt_id).mean()
    level = pd.cut(solved, [-1, 0, 0.4999, 0.9999, 1], labels=["0", "1", "2", "3"]).astype(str)
    answer = frame(runs, "by-difficulty").query("run == 'grpo'")
    assert {row.difficulty[0]: row.n_prompts for row in answer.itertuples()} == level.value_counts().to_dict()


def test_forgotten_prompts(runs):
    rows = table(runs, "responses").query("run == 'grpo'")
    early, late = rows[rows.step <= 20], rows[rows.step > 20]
    right = set(early[early.verdict == "right"].prompt_id)
    expected = {p for p in right & set(late.prompt_id) if p not in set(late[late.verdict == "right"].prompt_id)}
    assert set(frame(runs, "forgotten-prompts", limit=1000).query("run == 'grpo'").prompt_id) == expected
    assert expected


def test_pass_at_k_of_the_rollouts_is_the_estimators(runs):
    rows = table(runs, "responses").query("run == 'grpo' and step == 5 and verdict != 'unjudged'")
    answer = frame(runs, "pass-at-k-rollouts").query("run == 'grpo' and step == 5").set_index("k")
    groups = rows.groupby("group_id").verdict.agg(lambda v: (v == "right").mean())
    assert answer.pass_at_k[1] == pytest.approx(groups.mean())


@pytest.mark.parametrize(
    ("given", "message"),
    [({"limits": 3}, "it has: limit"), ({"limit": "'x'"}, "give a number"), ({"limit": "true"}, "a number")],
)
def test_wrong_parameters_are_told(given, message):
    with pytest.raises(QueryFailed, match=message):
        named_query("top-forking-tokens").parameters({key: str(value) for key, value in given.items()})


def test_a_name_nearly_right_is_guessed():
    with pytest.raises(QueryFailed, match="did you mean top-forking-tokens"):
        named_query("forking-tokens")
