"""The views against the same numbers worked out the long way."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
import simko.store
from batches import expected_lambda, random_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.store import Recorder
from simko.store.analysis.estimators import bootstrap_interval, partial_correlation, pass_at_k, pass_at_k_exact, pearson
from simko.store.layout.run import create_or_resume, write_vocabulary


def write(run, steps, *, k=4, attempt=1, rank=0, world_size=1, start_step=0, rng=None, close=True, **recorder):
    """Write random steps and return the batches by step."""
    rng = np.random.default_rng(attempt * 10 + rank) if rng is None else rng
    create_or_resume(run, {"run": run.name, "probe": {"k": k, "temperature": 1.0}}, resume=attempt > 1 or rank > 0)
    writer = Recorder(run, k=k, attempt=attempt, rank=rank, world_size=world_size, start_step=start_step, **recorder)
    written = {}
    for step in steps:
        written[step] = [random_batch(step, rng, k=k), random_batch(step, rng, k=k, width=7, first=6)]
        for batch in written[step]:
            writer.put(batch)
        writer.end_step(step)
    if close:
        writer.close()
    return written


def lambda_rows(run):
    with simko.store.open(run) as connection:
        frame = connection.sql("SELECT * FROM lambda_k").df()
    return {(r["step"], r["verdict"], r["k"]): r for r in frame.to_dict("records")}


def test_lambda_k_and_its_kin_by_verdict(tmp_path):
    written = write(tmp_path / "run", range(1, 6))
    rows = lambda_rows(tmp_path / "run")
    checked = 0
    for step, verdict, k in itertools.product(written, ("all", "right", "wrong", "unjudged"), (1, 2, 3, 4)):
        expected = expected_lambda(written[step], k, verdict)
        if expected["n_responses"] == 0:
            assert (step, verdict, k) not in rows
            continue
        checked += 1
        for name, value in expected.items():
            assert rows[step, verdict, k][name] == pytest.approx(value, rel=1e-6, nan_ok=True), (step, verdict, k, name)
    assert checked > 60


def test_token_rows_are_the_masked_positions_and_give_lambda_too(tmp_path):
    written = write(tmp_path / "run", [1, 2])
    with simko.store.open(tmp_path / "run") as connection:
        rows = connection.sql("SELECT step, response_id, position, logp, ids, rank, forking FROM tokens").fetchall()
        by_tokens = connection.sql(
            "SELECT step, avg(m) FROM (SELECT step, response_id, avg(logp[2]) m FROM tokens GROUP BY ALL) "
            "GROUP BY step ORDER BY step"
        ).fetchall()
    expected = [
        (
            step,
            b.response_id[i],
            t,
            b.top_logprob[i, t].tolist(),
            b.top_id[i, t].tolist(),
            b.rank[i, t],
            b.forking[i, t],
        )
        for step, batches in written.items()
        for b in batches
        for i, t in zip(*np.nonzero(b.mask), strict=True)
    ]
    assert sorted((r[0], r[1], r[2], tuple(r[3]), tuple(r[4]), r[5], r[6]) for r in rows) == sorted(
        (r[0], int(r[1]), int(r[2]), tuple(r[3]), tuple(r[4]), int(r[5]), bool(r[6])) for r in expected
    )
    assert by_tokens == [
        (step, pytest.approx(expected_lambda(batches, 2)["lambda_k"], rel=1e-6)) for step, batches in written.items()
    ]


def test_entropy_histogram_counts_every_token(tmp_path):
    written = write(tmp_path / "run", [1])
    entropy = np.concatenate([b.entropy[b.mask] for b in written[1]])
    expected = np.bincount((entropy.astype(np.float64) / 0.1).astype(int), minlength=128)
    with simko.store.open(tmp_path / "run") as connection:
        histograms = [r[0] for r in connection.sql("SELECT entropy_histogram FROM rollups").fetchall()]
        sums = connection.sql("SELECT sum(n_rank_1), sum(n_forking), sum(sum_entropy) FROM rollups").fetchall()[0]
    assert np.array_equal(np.sum(histograms, 0), expected)
    assert sums[0] == sum(int(((b.rank == 1) & b.mask).sum()) for b in written[1])
    assert sums[1] == sum(int((b.forking & b.mask).sum()) for b in written[1])
    assert sums[2] == pytest.approx(float(entropy.sum(dtype=np.float64)), rel=1e-9)


def test_nonfinite_tokens_are_counted_and_left_out(tmp_path):
    batch = random_batch(1, np.random.default_rng(0))
    batch.mask[:2] = True
    batch.logprob[0, 1], batch.entropy[1, 0], batch.top_logprob[1, 2, 3] = np.nan, np.inf, -np.inf
    run = tmp_path / "run"
    create_or_resume(run, {"probe": {"k": 4}}, resume=False)
    with Recorder(run, k=4, attempt=1) as writer:
        writer.put(batch)
        writer.end_step(1)
    expected = expected_lambda([batch], 2)
    assert lambda_rows(run)[1, "all", 2]["lambda_k"] == pytest.approx(expected["lambda_k"], rel=1e-6)
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT n_nonfinite FROM runs").fetchall() == [(3,)]
        assert connection.sql("SELECT count(*) FROM tokens").fetchall() == [(int(batch.mask.sum()),)]


def test_newest_attempt_wins_and_earlier_ones_stay_reachable(tmp_path):
    run = tmp_path / "run"
    first = write(run, range(1, 9))
    write(run, [], attempt=2, start_step=2)  # logged nothing: hides nothing
    assert {step for step, *_ in lambda_rows(run)} == set(range(1, 9))
    third = write(run, range(6, 8), attempt=3, start_step=5)
    rows = lambda_rows(run)
    assert {step for step, *_ in rows} == set(range(1, 8))  # step 8 was rewound
    for step in range(1, 8):
        source = third if step > 5 else first
        assert rows[step, "all", 1]["lambda_k"] == pytest.approx(expected_lambda(source[step], 1)["lambda_k"], rel=1e-6)
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT count(DISTINCT attempt), max(step) FROM all_rollups").fetchall() == [(2, 8)]
        assert connection.sql("SELECT attempts, status, last_step FROM runs").fetchall() == [(3, "finished", 7)]


def test_ranks_merge_exactly_and_a_dead_one_leaves_its_steps_incomplete(tmp_path):
    run = tmp_path / "run"
    one = write(run, [1, 2, 3], world_size=2)
    two = write(run, [1, 2], rank=1, world_size=2)
    rows = lambda_rows(run)
    for step in (1, 2):
        expected = expected_lambda(one[step] + two[step], 1)
        assert rows[step, "all", 1]["lambda_k"] == pytest.approx(expected["lambda_k"], rel=1e-6)
        assert rows[step, "all", 1]["complete"]
    assert not rows[3, "all", 1]["complete"]


def test_a_rank_without_a_counted_token_has_reported_all_the_same(tmp_path):
    run = tmp_path / "run"
    write(run, [1], world_size=2)
    create_or_resume(run, {}, resume=True)
    with Recorder(run, k=4, attempt=1, rank=1, world_size=2) as writer:
        writer.end_step(1)
    rows = lambda_rows(run)
    assert rows[1, "all", 1]["complete"]
    assert rows[1, "all", 1]["n_responses"] == 12


def test_runs_of_different_k_are_read_together(tmp_path):
    write(tmp_path / "few", [1], k=2)
    write(tmp_path / "many", [1], k=6)
    with simko.store.open(tmp_path) as connection:
        ranks = connection.sql("SELECT run, max(k) FROM lambda_k GROUP BY run ORDER BY run").fetchall()
        missing = connection.sql("SELECT count(logp_6), count(logp_2) FROM tokens WHERE run = 'few'").fetchall()[0]
    assert ranks == [("few", 2), ("many", 6)]
    assert missing[0] == 0
    assert missing[1] > 0


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 9), data=st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(n, data):
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k([n], [c], k)[0] == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_pass_at_k_known_values():
    vectors = json.loads((Path(__file__).parents[2] / "vectors" / "simko.json").read_text())
    for name, value in vectors["passk_n8"].items():
        c, k = (int(part[1:]) for part in name.split("_"))
        assert pass_at_k([8], [c], k)[0] == pytest.approx(value, abs=1e-9)
    assert pass_at_k([256], [1], 64)[0] == pytest.approx(0.25)
    assert np.isnan(pass_at_k([4], [1], 8)[0])


def test_pass_at_k_goes_as_far_as_the_responses_do(tmp_path):
    """k = 512 and 1024 where a problem has as many responses, no row where none has."""
    drawn = {"a": [300], "b": [512, 600], "c": [1024, 700]}
    for name, n in drawn.items():
        create_or_resume(tmp_path / name, {"probe": {"k": 3}}, resume=False)
        with Recorder(tmp_path / name, k=3, attempt=1) as writer:
            count = len(n)
            writer.put_evals(
                {
                    "step": [0] * count,
                    "split": ["heldout"] * count,
                    "source": ["sampled"] * count,
                    "prompt_id": [str(i) for i in range(count)],
                    "n": n,
                    "c": [2] * count,
                }
            )
    with simko.store.open(tmp_path) as connection:
        rows = connection.sql("SELECT run, k, pass_at_k, n_problems FROM pass_at_k WHERE k >= 256").fetchall()
    result = {(run, k): (value, problems) for run, k, value, problems in rows}
    assert set(result) == {("a", 256), ("b", 256), ("b", 512), ("c", 256), ("c", 512), ("c", 1024)}
    for (run, k), (value, problems) in result.items():
        enough = [n for n in drawn[run] if n >= k]
        exact = [1 - math.comb(n - 2, k) / math.comb(n, k) for n in enough]
        assert problems == len(enough)
        assert value == pytest.approx(sum(exact) / len(exact), rel=1e-9)
        assert np.nanmean(pass_at_k(drawn[run], [2] * len(drawn[run]), k)) == pytest.approx(value, rel=1e-9)


def test_pass_at_k_in_sql_equals_numpy_for_all_three_sources(tmp_path):
    run = tmp_path / "run"
    create_or_resume(run, {"probe": {"k": 3}}, resume=False)
    rng = np.random.default_rng(1)
    n, c = np.array([256, 256, 250, 256]), np.array([0, 3, 100, 256])
    p = rng.random(5)
    correct = rng.random((6, 8)) < 0.3
    with Recorder(run, k=3, attempt=1) as writer:
        ids = [f"p{i}" for i in range(4)]
        writer.put_evals(
            {"step": [7] * 4, "split": ["heldout"] * 4, "source": ["sampled"] * 4, "prompt_id": ids, "n": n, "c": c}
        )
        writer.put_evals(
            {
                "step": [7] * 5,
                "split": ["heldout"] * 5,
                "source": ["exact"] * 5,
                "prompt_id": list("abcde"),
                "success": p,
            }
        )
        writer.put_responses(
            {
                "step": [1] * 48,
                "generation": [0] * 48,
                "response_id": range(48),
                "group_id": np.repeat(np.arange(6), 8),
                "prompt_id": ["x"] * 48,
                "verdict": np.where(correct.ravel(), "right", "wrong").tolist(),
            }
        )
    with simko.store.open(run) as connection:
        rows = connection.sql("SELECT source, k, pass_at_k, stderr, n_problems FROM pass_at_k").fetchall()
    result = {(source, k): (value, stderr, problems) for source, k, value, stderr, problems in rows}
    for k in (1, 2, 4, 8, 16, 32, 64, 128):
        values = pass_at_k(n, c, k)
        assert result["sampled", k] == pytest.approx((values.mean(), values.std(ddof=1) / 2, 4), rel=1e-9)
    assert result["sampled", 256][2] == 3  # only three problems have 256 judged responses
    for k in (1, 8, 256):
        assert result["exact", k][0] == pytest.approx(pass_at_k_exact(p, k).mean(), rel=1e-9)
        assert pass_at_k_exact(p, k) == pytest.approx(1 - (1 - p) ** k, abs=1e-12)
    assert sorted(k for source, k in result if source == "rollouts") == [1, 2, 4, 8]
    assert result["rollouts", 4][0] == pytest.approx(pass_at_k([8] * 6, correct.sum(1), 4).mean(), rel=1e-9)
    assert ("rollouts", 16) not in result


def test_an_evaluation_repeated_by_a_resumed_run_counts_once(tmp_path):
    run = tmp_path / "run"
    create_or_resume(run, {"probe": {"k": 4}}, resume=False)
    rng = np.random.default_rng(0)
    for attempt, start, success in ((1, 0, [0.5, 0.5]), (2, 3, [0.25, 0.75]), (3, 3, [0.0, 1.0])):
        with Recorder(run, k=4, attempt=attempt, start_step=start) as recorder:
            for step in range(start + 1, 5):
                recorder.put(random_batch(step, rng))
                recorder.end_step(step)
            about = {"step": [3, 3], "split": ["heldout"] * 2, "source": ["exact"] * 2, "prompt_id": ["a", "b"]}
            recorder.put_evals({**about, "success": success})
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT pass_at_k, n_problems FROM pass_at_k WHERE k = 2").fetchall() == [(0.5, 2)]
        assert connection.sql("SELECT DISTINCT attempt FROM evals").fetchall() == [(3,)]


def test_a_run_resumed_with_more_ranks_shows_them_all(tmp_path):
    run = tmp_path / "run"
    create_or_resume(run, {"probe": {"k": 4}}, resume=False)
    rng = np.random.default_rng(0)
    for attempt, k in ((1, 4), (2, 6)):
        with Recorder(run, k=k, attempt=attempt, start_step=attempt - 1) as recorder:
            recorder.put(random_batch(attempt, rng, k=k))
            recorder.end_step(attempt)
    with simko.store.open(run) as connection:
        ranks = connection.sql("SELECT step, max(k) FROM lambda_k GROUP BY step ORDER BY step").fetchall()
        assert ranks == [(1, 4), (2, 6)]
        assert connection.sql("SELECT DISTINCT len(logp) FROM tokens").fetchall() == [(6,)]


def test_a_mean_over_tokens_looks_up_no_text(tmp_path):
    run = tmp_path / "run"
    write(run, [1, 2])
    write_vocabulary(run, ["x"] * 60)

    def plan(columns):
        with simko.store.open(run) as connection:
            return connection.execute(f"EXPLAIN SELECT {columns} FROM tokens GROUP BY ALL").fetchall()[0][1]

    assert "token_id = token_id" in plan("text, avg(logp_1)")
    assert "token_id = token_id" not in plan("step, avg(logp_1)")


def test_concentration_is_that_of_the_evaluated_parameters(tmp_path):
    run = tmp_path / "run"
    written = write(run, range(1, 7))
    create_or_resume(run, {}, resume=True)
    with Recorder(run, k=4, attempt=2, start_step=6) as writer:
        for step in (0, 3, 6):
            writer.put_evals(
                {"step": [step], "split": ["heldout"], "source": ["exact"], "prompt_id": ["a"], "success": [0.5]}
            )
    with simko.store.open(run) as connection:
        rows = connection.sql(
            "SELECT step, trained_step, lambda_1 FROM concentration WHERE k = 1 ORDER BY step"
        ).fetchall()
    assert [(step, trained) for step, trained, _ in rows] == [(0, 1), (3, 4), (6, 6)]
    for _, trained, lambda_1 in rows:
        assert lambda_1 == pytest.approx(expected_lambda(written[trained], 1)["lambda_k"], rel=1e-6)


def test_bootstrap_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(rng.normal(size=60), resamples=500, seed=trial)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99
    low, high = bootstrap_interval(rng.normal(size=(50, 3)))
    assert low.shape == high.shape == (3,)
    assert np.isnan(bootstrap_interval([1.0])[0])


def test_partial_correlation_takes_a_shared_trend_out():
    rng = np.random.default_rng(0)
    trend = np.linspace(0, 10, 200)
    x, y = trend + rng.normal(size=200), trend + rng.normal(size=200)
    assert pearson(x, y) > 0.8
    assert abs(partial_correlation(x, y, trend)) < 0.2
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3]))


def test_plain_duckdb_computes_lambda_by_the_documented_sql(tmp_path):
    """In a process that never imports this package."""
    run = tmp_path / "runs" / "run"
    write(run, [1, 2, 3])
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    on_rollups = text.split("```sql\n")[1].split("```")[0]
    code = (
        "import duckdb, sys, json\n"
        f"rows = duckdb.sql({on_rollups!r}).fetchall()\n"
        "assert not any(name.startswith('simko') for name in sys.modules)\n"
        "print(json.dumps(rows))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    ours = lambda_rows(run)
    for step, value in json.loads(done.stdout):
        assert value == pytest.approx(ours[step, "all", 1]["lambda_k"], rel=1e-12)
    on_tokens = text.split("```sql\n")[2].split("```")[0].replace("runs/*", f"{tmp_path}/runs/*")
    assert [row[0] for row in duckdb.sql(on_tokens).fetchall()] == [1, 2, 3]
