"""The run without a model is true to itself: exact size, ranked, concentrating, told by the same SQL as any run."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import simko.store
from simko.store.demo.large_run import CANDIDATES, write_large_run

TOKENS, STEPS = 30_000, 6


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_large_run(tmp_path_factory.mktemp("runs"), name="large", tokens=TOKENS, steps=STEPS, method="grpo")


def answer(run, sql):
    with simko.store.open(run) as connection:
        return connection.execute(sql).fetchall()


def test_it_has_the_tokens_asked_for_and_every_row_belongs_to_a_response(run):
    assert answer(run, "SELECT count(*) FROM tokens") == [(TOKENS,)]
    assert answer(run, "SELECT sum(n_tokens) FROM responses") == [(TOKENS,)]
    assert answer(run, "SELECT sum(n_tokens), count(DISTINCT step) FROM rollups") == [(TOKENS, STEPS)]
    unknown = "SELECT count(*) FROM tokens ANTI JOIN responses USING (run, attempt, response_id)"
    assert answer(run, unknown) == [(0,)]
    words = "SELECT bool_and(length(completion) > 4 * n_tokens AND n_tokens > 0), max(n_tokens) <= 512 FROM responses"
    assert answer(run, words) == [(True, True)]


def test_statistics_are_those_of_one_distribution(run):
    rows = pq.read_table(run / "tokens").to_pydict()
    logp = np.array([rows[f"logp_{k}"] for k in range(1, 6)])
    assert (np.diff(logp, axis=0) <= 0).all()
    assert (np.exp(logp).sum(0) <= 1 + 1e-5).all()
    collision, entropy = np.array(rows["collision"]), np.array(rows["entropy"])
    assert (collision >= np.exp(logp[0]) ** 2 - 1e-5).all() and (collision <= np.exp(logp[0]) + 1e-5).all()
    assert (entropy >= -1e-5).all() and (entropy <= np.log(CANDIDATES) + 1e-5).all()
    rank, sampled = np.array(rows["rank"]), np.array(rows["logprob"])
    for k in range(1, 6):
        np.testing.assert_array_equal(sampled[rank == k], logp[k - 1][rank == k])
        assert (np.array(rows[f"id_{k}"])[rank == k] == np.array(rows["token_id"])[rank == k]).all()
    # Tokens are drawn from what is logged: how often rank 1 was drawn is its mean probability.
    assert np.mean(rank == 1) == pytest.approx(np.exp(logp[0]).mean(), abs=0.01)
    assert -sampled.mean() == pytest.approx(entropy.mean(), abs=0.03)


def test_it_concentrates_and_loses_pass_at_256(run):
    ((first, last),) = answer(
        run, "SELECT min_by(lambda_k, step), max_by(lambda_k, step) FROM lambda_k WHERE k = 1 AND verdict = 'all'"
    )
    assert last > first + 0.03
    figures = "SELECT step, k, pass_at_k FROM pass_at_k WHERE source = 'exact' AND step IN (0, 6) AND k IN (1, 256)"
    result = {(step, k): value for step, k, value in answer(run, figures)}
    assert result[6, 1] > result[0, 1] and result[6, 256] < result[0, 256]


def test_the_same_arguments_give_the_same_rows(run, tmp_path):
    again = write_large_run(tmp_path, name="large", tokens=TOKENS, steps=STEPS, method="grpo")
    assert pq.read_table(run / "tokens").equals(pq.read_table(again / "tokens"))
