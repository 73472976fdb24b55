"""pass@k beyond the group's size: bounds against known extremes and brute force, the estimate against known truths."""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.cli.simko import main
from simko.store.analysis.estimators import pass_at_k
from simko.store.analysis.rollout_bounds import CHI_SQUARED_1, GRID, Counts, bounds
from simko.store.analysis.rollout_pass_at_k import FEWEST_PROBLEMS, estimate, over_training
from simko.store.analysis.rollout_prior import posterior_pass_at_k
from simko.store.demo.small_run import write_demonstration_run

KS = (1, 4, 8, 64, 256)
HUGE = 1e9


@pytest.fixture
def quick(monkeypatch):
    """Few draws, where it does not matter how good they are."""
    monkeypatch.setattr("simko.store.analysis.rollout_prior._BURN_IN", 40)
    monkeypatch.setattr("simko.store.analysis.rollout_prior._KEPT", 40)


def drawn(seed, n=8, problems=200, zero=0.1):
    """Rollouts of problems whose logit is normal, but for a share without any success; and their true success."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1, 2, problems))) * (rng.random(problems) >= zero)
    return np.full(problems, n), rng.binomial(n, p), p


@pytest.mark.parametrize("mean", [0.05, 0.4, 0.9])
def test_one_response_per_problem_tells_the_mean_alone(mean):
    """Sharp: all problems alike at one end (Jensen), each solved always or never at the other."""
    counts = Counts(np.array([1.0, 1.0]), np.array([0.0, 1.0]), HUGE * np.array([1 - mean, mean]))
    for k, (low, high) in zip((1, 3, 20), bounds(counts, (1, 3, 20)), strict=True):
        assert low == pytest.approx(mean, abs=1e-3)
        assert high == pytest.approx(1 - (1 - mean) ** k, abs=2e-3)


@pytest.mark.parametrize("masses", [[(0.2, 0.3), (0.6, 0.7)], [(0.1, 0.5), (0.9, 0.5)]])
def test_two_responses_bound_three_by_the_principal_representations(masses):
    """Moments m1, m2 of G: the extremes of E(1 − p)³ have one mass beside 0, and one beside 1 (Markov, Krein)."""
    m1, m2 = (sum(w * p**power for p, w in masses) for power in (1, 2))
    right = np.array([1 - 2 * m1 + m2, 2 * (m1 - m2), m2])
    counts = Counts(np.full(3, 2.0), np.arange(3.0), HUGE * right)
    beside_0 = (m2 / m1, m1**2 / m2)
    q1, q2 = 1 - m1, 1 - 2 * m1 + m2  # moments of 1 − p
    beside_1 = (q2 / q1, q1**2 / q2)
    extremes = [
        1 - (beside_0[1] * (1 - beside_0[0]) ** 3 + 1 - beside_0[1]),
        1 - beside_1[1] * beside_1[0] ** 3,
    ]
    assert bounds(counts, [3])[0] == pytest.approx(sorted(extremes), abs=1e-3)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8))
def test_bounds_are_ordered_monotone_and_hold_every_distribution_that_fits(seed, n):
    n, c, _ = drawn(seed, n)
    counts = Counts.of(n, c)
    found = np.array(bounds(counts, KS))
    assert (found[:, 0] <= found[:, 1]).all()
    assert (np.diff(found, axis=0) >= 0).all()
    assert found.min() >= 0 and found.max() <= 1
    likelihood = counts.likelihood(GRID)
    rng = np.random.default_rng(seed)
    weights, best = np.full(len(GRID), 1 / len(GRID)), -np.inf
    fits = []
    for _ in range(150):  # EM, from where random neighbours are tried
        mixed = likelihood @ weights
        weights = weights * (likelihood.T @ (counts.problems / mixed)) / counts.total
        for tried in (weights, 0.9 * weights + 0.1 * rng.dirichlet(np.full(len(GRID), 0.05))):
            loglik = counts.problems @ np.log(likelihood @ tried)
            best = max(best, loglik)
            fits.append((loglik, tried))
    inside = [tried for loglik, tried in fits if loglik > best - CHI_SQUARED_1[0.9] / 2 + 0.05]
    values = np.array([[tried @ (1 - (1 - GRID) ** k) for k in KS] for tried in inside])
    assert (values >= found[:, 0] - 1e-4).all() and (values <= found[:, 1] + 1e-4).all()


def test_bounds_within_the_group_hold_the_unbiased_estimate_and_come_close_to_it():
    n, c, _ = drawn(1)
    close, many = bounds(Counts.of(n, c), (1, 2, 4)), Counts.of(n, c)
    sharp = bounds(Counts(many.n, many.c, many.problems * 1e4), (1, 2, 4))
    for k, (low, high), ends in zip((1, 2, 4), close, sharp, strict=True):
        measured = pass_at_k(n, c, k).mean()
        assert low < measured < high < low + 0.15
        assert ends == pytest.approx((measured, measured), abs=0.015)


@pytest.mark.slow
def test_bounds_hold_the_truth_and_open_with_k():
    held = []
    for seed in range(6):
        n, c, p = drawn(100 + seed, problems=400)
        found = np.array(bounds(Counts.of(n, c), KS))
        held += [low <= np.mean(1 - (1 - p) ** k) <= high for k, (low, high) in zip(KS[3:], found[3:], strict=True)]
        assert found[4, 1] - found[4, 0] > found[2, 1] - found[2, 0]
    assert all(held)


@pytest.mark.slow
def test_the_estimate_is_near_the_truth_and_its_draws_never_fall_in_k():
    held = 0
    for seed in range(3):
        n, c, p = drawn(seed, problems=400, zero=0)
        draws = posterior_pass_at_k(Counts.of(n, c), KS, seed=seed)
        assert (np.diff(draws, axis=1) >= 0).all()
        truth = np.array([np.mean(1 - (1 - p) ** k) for k in KS])
        assert np.abs(draws.mean(0) - truth).max() < 0.06
        low, high = np.quantile(draws, [0.005, 0.995], axis=0)
        held += ((low <= truth) & (truth <= high)).sum()
    assert held >= 13


def test_problems_that_are_all_alike_are_found_to_be():
    n, c = np.full(300, 8), np.full(300, 4)
    draws = posterior_pass_at_k(Counts.of(n, c), (1, 8))
    assert draws[:, 0].mean() == pytest.approx(0.5, abs=0.02)
    assert draws[:, 1].mean() == pytest.approx(1 - 0.5**8, abs=0.01)


def test_within_the_group_it_is_the_unbiased_measurement_and_beyond_never_less(quick):
    n, c, _ = drawn(5)
    found = estimate(n, c, KS)
    assert [e.measured for e in found] == [True, True, True, False, False]
    assert [e.value for e in found[:3]] == pytest.approx([pass_at_k(n, c, k).mean() for k in KS[:3]])
    values = [e.value for e in found]
    assert values == sorted(values)
    for e in found[3:]:
        assert e.low <= e.value <= e.high and e.least < e.most
    assert [e.value for e in estimate(n, c, KS)] == values


def test_nothing_or_impossible_counts_are_refused():
    assert bounds(Counts.of([0, 0], [0, 0]), (8,)) == [(0.0, 1.0)]
    with pytest.raises(ValueError, match="no problems"):
        estimate([0], [0])
    with pytest.raises(ValueError, match="between 0 and n"):
        Counts.of([8, 8], [9, 1])
    with pytest.raises(ValueError, match="between 0 and n"):
        Counts.of([8, 8], [float("nan"), 1])


def log_of(rows, unjudged=0, break_after=None):
    """The views that `over_training` asks, as tables: groups (step, problem, n, c)."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE problems (run VARCHAR, step INT, source VARCHAR, prompt_id VARCHAR, n INT, c INT)")
    connection.execute("CREATE TABLE responses (run VARCHAR, step INT, group_id INT)")
    connection.execute("CREATE TABLE breaks (step INT)")
    connection.executemany("INSERT INTO problems VALUES ('a', ?, 'rollouts', ?, ?, ?)", rows)
    connection.execute(
        f"INSERT INTO responses SELECT 'a', step, 0 FROM problems, range(9) r WHERE range < n + {unjudged}"
    )
    if break_after is not None:
        connection.execute("INSERT INTO breaks VALUES (?)", [break_after])
    return connection


def groups(steps, per_step, seed=0):
    n, c, _ = drawn(seed, problems=len(steps) * per_step)
    names = [f"p{i}" for i in range(len(n))]
    return [(int(steps[i // per_step]), names[i], int(n[i]), int(c[i])) for i in range(len(n))]


def test_a_run_is_cut_into_windows_of_its_own_steps(quick):
    rows = groups(range(1, 21), FEWEST_PROBLEMS // 10)
    found = over_training(log_of(rows), {}, (8, 64), windows=2)
    assert [(w.first, w.last, w.problems, w.responses) for w in found] == [(1, 10, 100, 800), (11, 20, 100, 800)]
    assert [[e.k for e in w.estimates] for w in found] == [[8, 64]] * 2
    first = [row for row in rows if row[0] <= 10]
    assert found[0].estimates[1] == estimate([r[2] for r in first], [r[3] for r in first], (8, 64))[1]


@pytest.mark.parametrize(
    ("options", "info", "reason"),
    [
        ({"unjudged": 1}, {}, "11% of the responses are unjudged"),
        ({}, {"config": {"dynamic_sampling_rounds": 3}}, "dynamic sampling"),
        ({"break_after": 10}, {}, "50 problems were sampled, of 100 needed"),
    ],
)
def test_what_cannot_be_told_is_told_why(options, info, reason):
    rows = groups(range(1, 21), 10 if "break_after" not in options else 5)
    found = over_training(log_of(rows, **options), info, (64,), windows=1)
    assert len(found) == 1
    assert not found[0].estimates
    assert reason in found[0].reason


def test_one_response_per_problem_or_none_gives_no_estimate():
    rows = [(1, f"p{i}", 1, i % 2) for i in range(200)]
    assert "one response" in over_training(log_of(rows), {}, (64,), windows=1)[0].reason


def test_the_command_says_that_it_is_an_estimate_or_why_there_is_none(tmp_path, capsys, monkeypatch, quick):
    write_demonstration_run(tmp_path, name="one", method="grpo", steps=4, responses=16)
    run = ["passk", str(tmp_path / "one"), "--windows", "1", "--k", "2", "64"]
    assert main(run) == 5
    assert "no estimate, because" in capsys.readouterr().out
    monkeypatch.setattr("simko.store.analysis.rollout_pass_at_k.FEWEST_PROBLEMS", 2)
    monkeypatch.setattr("simko.store.analysis.rollout_pass_at_k.MOST_UNJUDGED", 0.5)
    assert main(run) == 0
    out = capsys.readouterr().out
    assert "an estimate, not a measurement" in out and "measured" in out and "held-out" in out
    assert main([*run, "--format", "json"]) == 0
    (window,) = json.loads(capsys.readouterr().out)
    measured, estimated = window["estimates"]
    assert measured["low"] is None and measured["measured"]
    assert estimated["low"] <= estimated["value"] <= estimated["high"]
    assert main(["passk", str(tmp_path / "one"), "--k", "0"]) == 2
    assert main(["passk", str(tmp_path / "one"), "--windows", "0"]) == 2
