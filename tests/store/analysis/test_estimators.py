"""The store's estimators, as the pages use them, against brute force."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simko.store.analysis.estimators import (
    bootstrap_interval,
    correlation_interval,
    partial_correlation,
    pass_at_k,
    pass_at_k_exact,
    pearson,
)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(case):
    n, c, k = case
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k([n], [c], k)[0] == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_of_large_numbers_and_too_few():
    exact = 1 - math.comb(4096 - 3, 256) / math.comb(4096, 256)
    assert pass_at_k([4096], [3], 256)[0] == pytest.approx(exact, rel=1e-12)
    assert math.isnan(pass_at_k([4], [4], 8)[0])


@given(st.floats(0, 1), st.integers(1, 256))
def test_exact_pass_at_k(p, k):
    assert pass_at_k_exact([p], k)[0] == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


def test_exact_pass_at_k_keeps_small_probabilities():
    assert pass_at_k_exact([1e-18], 4)[0] == pytest.approx(4e-18)


def test_bootstrap_interval_is_close_to_the_normal_one_and_covers():
    values = np.random.default_rng(1).random(400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval(np.random.default_rng(seed).random(60), resamples=300)
        covered += low <= 0.5 <= high
    assert 0.88 * 200 < covered < 199


def test_bootstrap_draws_whole_problems():
    values = np.random.default_rng(2).random((30, 3))
    low, high = bootstrap_interval(values)
    one = bootstrap_interval(values[:, 1])
    assert (low[1], high[1]) == pytest.approx(one)
    assert np.isnan(bootstrap_interval(values[:1])[0]).all()


def test_partial_correlation_takes_the_trend_out():
    rng = np.random.default_rng(3)
    step = np.arange(200.0)
    noise, other = rng.normal(size=(2, 200))
    x, y = step / 20 + noise, step / 20 + other
    assert pearson(x, y) > 0.8
    assert abs(partial_correlation(x, y, step)) < 0.2
    assert partial_correlation(x, step / 20 + noise, step) == pytest.approx(1)
    # The textbook formula from the three plain correlations.
    xy, xs, ys = pearson(x, y), pearson(x, step), pearson(y, step)
    assert partial_correlation(x, y, step) == pytest.approx((xy - xs * ys) / math.sqrt((1 - xs**2) * (1 - ys**2)))


def test_correlations_that_are_not_defined_are_nan():
    assert math.isnan(pearson([1, 2], [1, 2]))
    assert math.isnan(pearson([1, 1, 1, 1], [1, 2, 3, 4]))
    assert math.isnan(partial_correlation([1, 2, 3], [3, 1, 2], [1, 2, 3]))
    assert math.isnan(partial_correlation([1, 2, 3, 4], [3, 1, 2, 5], [1, 2, 3, 4]))
    assert all(map(math.isnan, correlation_interval([1.0], [1.0])))


def test_correlation_interval_holds_the_truth_of_a_large_sample():
    rng = np.random.default_rng(4)
    x, noise = rng.normal(size=(2, 300))
    low, high = correlation_interval(x, 0.6 * x + 0.8 * noise, resamples=500)
    assert low < 0.6 < high and high - low < 0.2
