"""The estimators of a diagnosis against published values and brute force; its sentence for each case there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simko.store.analysis.estimators import bootstrap_interval, clustered_interval, fisher_exact, holm
from simko.store.analysis.seed_bootstrap import tails
from simko.store.analysis.verdict_on_pair import SMALLEST, Change, verdict

FISHER = [((4, 4), (3, 1), 0.4857142857), ((10, 6), (8, 1), 0.03496503), ((5, 5), (5, 0), 0.0079365079)]
"""Draws, successes, p: Fisher's tea tasting, and what R's fisher.test gives."""


@pytest.mark.parametrize(("n", "c", "p"), FISHER)
def test_fisher_gives_the_published_values(n, c, p):
    assert fisher_exact(n, c) == pytest.approx(p, rel=1e-6)


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_fisher_counts_the_ways_to_deal_the_successes(first, second, data):
    c = data.draw(st.integers(0, first)), data.draw(st.integers(0, second))
    total = sum(c)
    deals = [d for d in product((0, 1), repeat=first + second) if sum(d) == total]
    tables = [sum(d[:first]) for d in deals]
    count = {x: tables.count(x) for x in set(tables)}
    expected = sum(n for n in count.values() if n <= count[c[0]]) / len(deals)
    assert fisher_exact((first, second), c) == pytest.approx(expected)


def test_fisher_with_equal_rates_tells_nothing():
    assert fisher_exact((8, 8), (8, 8)) == fisher_exact((8, 8), (0, 0)) == fisher_exact((8, 8), (4, 4)) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0]) and len(holm([])) == 0


def test_clusters_of_one_are_the_plain_bootstrap():
    values = np.random.default_rng(0).normal(size=(30, 2))
    ours, plain = clustered_interval(values, np.arange(30)), bootstrap_interval(values)
    assert np.array(ours) == pytest.approx(np.array(plain))


def test_copies_within_a_cluster_make_nothing_surer():
    values = np.random.default_rng(1).normal(size=20)
    clusters = np.repeat([f"p{i:02d}" for i in range(20)], 8)
    copied = clustered_interval(np.repeat(values, 8), clusters)
    assert np.array(copied) == pytest.approx(np.array(bootstrap_interval(values)))
    assert np.isnan(clustered_interval(values, ["one"] * 20)).all()


def test_clusters_of_unequal_size_count_by_their_values():
    values, clusters = np.array([0.0, 0.0, 0.0, 1.0]), np.array(["a", "a", "a", "b"])
    assert clustered_interval(values, clusters) == (0.0, 1.0)  # either problem alone may be drawn


def change(name, mean, width):
    return Change(name, mean, mean - width, mean + width)


def sentence(first, second, pass_1, pass_8, width=0.02):
    same = {(w, n): change(n, v, width) for w in ("base", "tuned") for n, v in (("Λ(1)", first), ("Λ(2)", second))}
    return verdict("T", "B", [change("pass@1", pass_1, 0.05), change("pass@8", pass_8, 0.05)], same)


def test_the_sentence_says_what_there_is():
    assert sentence(0.1, -1.0, 0.1, -0.1).startswith(
        "T is more concentrated than B on the same tokens, and pass@1 rises while pass@8 falls ("
    )
    assert sentence(-0.1, 1.0, 0.0, 0.1).startswith("T is flatter than B on the same tokens, and pass@8 rises (")
    assert "neither plainly sharper nor flatter, and pass@k does not differ beyond noise" in sentence(
        0.1, 1.0, 0.0, 0.0
    )
    assert sentence(0.0, 0.0, 0.1, 0.1).startswith(
        "T is no more concentrated than B on the same tokens, and pass@1 rises and"
    )
    assert sentence(0.01, -0.01, 0.04, -0.04).startswith(
        "T and B: no difference beyond noise (Λ(1) +0.010 [-0.010, +0.030]"
    )


def test_what_is_smaller_than_half_precision_moves_it_is_none():
    less = 0.9 * SMALLEST
    assert "no difference beyond noise" in sentence(less, -less, 0.0, 0.0, width=1e-4)
    assert "more concentrated" in sentence(2 * SMALLEST, -2 * SMALLEST, 0.0, 0.0, width=1e-4)


def test_two_models_alike_differ_by_chance_in_about_one_of_twenty():
    """pass@1 of 10 problems, 16 draws of either model with the same rates: how often the interval leaves out 0."""
    rng, alarms = np.random.default_rng(0), 0
    low, high = tails(10)
    for _ in range(300):
        rate = rng.beta(0.6, 1.4, 10)
        change = (rng.binomial(16, rate) - rng.binomial(16, rate)) / 16
        interval = bootstrap_interval(change, level=high - low, resamples=500)
        alarms += not interval[0] <= 0 <= interval[1]
    assert 3 <= alarms <= 27  # 15 expected, standard deviation 3.8


def test_one_problem_tells_nothing():
    nan = float("nan")
    same = {("base", "Λ(1)"): Change("Λ(1)", 0.1, nan, nan)}
    assert "one problem tells nothing of others" in verdict("T", "B", [], same)
