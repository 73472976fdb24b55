"""Trends against loops over pairs and permutations, and how often noise that remembers itself is taken for one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.store.analysis.trends import (
    FEWEST_POINTS,
    SIGNIFICANCE,
    autocorrelation,
    blocks,
    mann_kendall,
    student_tail,
    theil_sen,
    trend,
    variance_factor,
)

VALUES = st.lists(st.integers(-5, 5), min_size=3, max_size=12)


@settings(max_examples=30, deadline=None)
@given(values=VALUES)
def test_slope_and_s_are_those_of_loops_over_pairs(values):
    pairs = list(itertools.combinations(range(len(values)), 2))
    slopes = sorted((values[j] - values[i]) / (j - i) for i, j in pairs)
    middle = len(slopes) // 2
    median = slopes[middle] if len(slopes) % 2 else (slopes[middle - 1] + slopes[middle]) / 2
    assert theil_sen(range(len(values)), values) == pytest.approx(median)
    assert mann_kendall(values)[0] == sum((values[j] > values[i]) - (values[j] < values[i]) for i, j in pairs)


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5], [1, 1, 2, 3, 3], [0, 0, 0, 1, 2], [7, 7, 7, 7, 7]])
def test_the_variance_of_s_is_that_of_all_permutations(values):
    every = [mann_kendall(order)[0] for order in itertools.permutations(values)]
    assert mann_kendall(values)[1] == pytest.approx(np.var(every))


@pytest.mark.parametrize(
    ("freedom", "t", "tail"),  # quantiles of Student's t as printed in tables
    [(1, 6.3138, 0.05), (2, 2.9200, 0.05), (5, 3.3649, 0.01), (10, 2.7638, 0.01), (30, 1.6973, 0.05), (10, 0, 0.5)],
)
def test_tails_of_student_are_those_of_the_tables(freedom, t, tail):
    assert student_tail(t, freedom) == pytest.approx(tail, abs=2e-5)
    assert student_tail(-t, freedom) == pytest.approx(1 - tail, abs=2e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 100), shift=st.floats(-100, 100))
def test_a_trend_does_not_depend_on_units(seed, scale, shift):
    y = np.random.default_rng(seed).normal(size=30).cumsum()
    here, there, mirrored = trend(range(30), y), trend(range(30), scale * y + shift), trend(range(30), -y)
    assert there.slope == pytest.approx(scale * here.slope, rel=1e-6, abs=1e-9)
    assert there.p_rise == pytest.approx(here.p_rise, rel=1e-6)
    assert (mirrored.p_rise, mirrored.p_fall) == pytest.approx((here.p_fall, here.p_rise))
    assert 0 < here.effective_n <= here.n == 30


def test_a_third_of_wild_points_does_not_move_the_slope():
    y = np.arange(60) * 0.5
    y[::4] += np.random.default_rng(0).normal(0, 1e3, 15)
    assert theil_sen(range(60), y) == pytest.approx(0.5, abs=0.2)
    assert np.polyfit(range(60), y, 1)[0] != pytest.approx(0.5, abs=0.2)


def test_a_clear_trend_is_found_and_a_constant_is_none():
    noise = np.random.default_rng(1).normal(0, 0.1, 40)
    rising = trend(range(40), np.linspace(0, 1, 40) + noise)
    assert rising.rises(0.5) and not rising.falls() and not rising.rises(2.0)
    assert trend(range(40), -np.linspace(0, 1, 40) + noise).falls(0.5)
    flat = trend(range(40), np.full(40, 3.0))
    assert (flat.slope, flat.p_rise, flat.p_fall) == (0, 1, 1) and not flat.rises() and not flat.falls()


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_noise_that_remembers_itself_is_seldom_a_trend(phi):
    """False positives per side in 100 series of 40 points; the plain test has 20 % and more at .9."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(100, 90))
    series = np.zeros_like(noise)
    for i in range(1, 90):
        series[:, i] = phi * series[:, i - 1] + noise[:, i]
    found = [trend(range(40), row[50:]) for row in series]
    wrong = np.mean([[t.p_rise < SIGNIFICANCE, t.p_fall < SIGNIFICANCE] for t in found])
    assert wrong <= 0.04
    independent = np.mean([t.effective_n for t in found])
    assert independent < 40 * (1 - phi) / (1 + phi) * 2.5
    if phi == 0.9:
        plain = [mann_kendall(row[50:]) for row in series]
        z = np.array([s / math.sqrt(variance) for s, variance in plain])
        assert np.mean(np.abs(z) > 2.326) > 0.2  # what the correction is for


def test_the_factor_never_claims_more_points_than_there_are():
    assert variance_factor(np.array([1.0, -1.0] * 20)) == 1.0
    assert variance_factor(np.sin(np.arange(60) / 10)) > 5


def test_autocorrelation_of_a_known_series():
    assert autocorrelation([1, -1, 1, -1]) == pytest.approx([-0.75, 0.5])
    assert autocorrelation([2.0, 2.0, 2.0, 2.0]).tolist() == [0, 0]


def test_long_series_are_averaged_in_blocks_that_keep_the_mean():
    x, y = np.arange(1000.0), np.random.default_rng(0).normal(size=1000)
    means_x, means_y = blocks(x, y, 100)
    assert len(means_y) == 100 and means_y.mean() == pytest.approx(y.mean()) and means_x[0] == 4.5
    assert trend(x, y).n == 240


def test_short_and_missing_points():
    with pytest.raises(ValueError, match=f"5 points, a trend takes {FEWEST_POINTS}"):
        trend(range(7), [1, 2, np.nan, np.inf, 3, 4, 5])
