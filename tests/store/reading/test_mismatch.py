"""The view `mismatch` against NumPy: sampler and old policy, by step and by probability."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import simko.store
from batches import random_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.store import Recorder
from simko.store.layout.run import create_or_resume
from simko.store.writing.batch import Credit

EDGES = [0, 0.01, 0.1, 0.5, 0.9, 0.99, 1]


def batch_of(step, rng, spread):
    """A batch with a credit, whose sampler reports within about `spread` nats of the old policy, or nothing."""
    batch = random_batch(step, rng)
    ratio = np.exp(rng.normal(0, 0.2, batch.mask.shape)).astype(np.float32)
    zero = np.zeros(batch.mask.shape, np.float32)
    old = batch.logprob - np.log(ratio)
    reported = (old + rng.normal(0, spread, old.shape)).astype(np.float32)
    reported[rng.random(old.shape) < 0.2] = np.nan
    return replace(batch, credit=Credit(weight=zero, ratio=ratio, smoothing=zero), sampler_logprob=reported)


def written(run, batches, **options):
    create_or_resume(run, {"probe": {"k": 4}}, resume=False)
    with Recorder(run, k=4, attempt=1, **options) as recorder:
        for batch in batches:
            recorder.put(batch)
            recorder.end_step(batch.step)
    return run


def expected(batch):
    """(p_from, p_to) → figures."""
    there = batch.mask & np.isfinite(batch.sampler_logprob)
    old = batch.logprob[there].astype(np.float64) - np.log(batch.credit.ratio[there].astype(np.float64))
    gap, p = batch.sampler_logprob[there] - old, np.exp(old)
    result = {}
    for low, high in [(0, 1), *itertools.pairwise(EDGES)]:
        inside = (p >= low) & ((p < high) | (high == 1))
        if inside.any():
            x = gap[inside]
            k3 = np.mean(np.exp(-x) - 1 + x)
            outside = np.mean((np.exp(x) < 0.5) | (np.exp(x) > 2))
            figures = (np.abs(x).mean(), np.abs(x).max(), x.mean(), k3, outside, inside.sum(), True)
            result[low, high] = pytest.approx(figures, rel=1e-6, abs=1e-9)
    return result


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.0, 0.01, 0.7, 3.0]))
def test_its_figures_are_those_of_the_rows(seed, spread, tmp_path_factory):
    rng = np.random.default_rng(seed)
    batches = [batch_of(step, rng, spread) for step in (1, 2)]
    run = written(tmp_path_factory.mktemp("runs") / "run", batches)
    with simko.store.open(run) as connection:
        rows = connection.execute("SELECT * EXCLUDE (run) FROM mismatch").fetchall()
    for batch in batches:
        assert {row[1:3]: row[3:] for row in rows if row[0] == batch.step} == expected(batch)
    assert len(rows) == sum(len(expected(batch)) for batch in batches)


def test_the_two_estimates_of_kl_agree_with_the_kl_of_known_distributions(tmp_path):
    """Tokens drawn from q and scored by p: both means tend to KL(q‖p)."""
    rng = np.random.default_rng(0)
    q, p = rng.dirichlet(np.ones(20) * 2), rng.dirichlet(np.ones(20) * 2)
    p = 0.7 * q + 0.3 * p
    shape = (300, 20)
    drawn = rng.choice(20, shape, p=q)
    one, batch = np.ones(shape, np.float32), random_batch(1, rng)
    top = np.broadcast_to(np.log(np.sort(p)[::-1][:4]), (*shape, 4)).astype(np.float32)
    batch = replace(
        batch,
        response_id=np.arange(shape[0]),
        verdict=np.zeros(shape[0], np.int8),
        mask=one.astype(bool),
        token_id=drawn,
        logprob=np.log(p[drawn]).astype(np.float32),
        rank=one.astype(int),
        entropy=one,
        collision=one,
        forking=one.astype(bool),
        top_logprob=top,
        top_id=np.zeros((*shape, 4), int),
        credit=Credit(weight=one, ratio=one, smoothing=0 * one),
        sampler_logprob=np.log(q[drawn]).astype(np.float32),
    )
    with simko.store.open(written(tmp_path / "run", [batch])) as connection:
        (k1, k3) = connection.execute("SELECT kl_k1, kl_k3 FROM mismatch WHERE p_from = 0 AND p_to = 1").fetchall()[0]
    kl = float((q * np.log(q / p)).sum())
    gap = np.log(q / p)
    error = [math.sqrt(float((q * (f - (q * f).sum()) ** 2).sum()) / drawn.size) for f in (gap, np.exp(-gap) - 1 + gap)]
    assert kl > 10 * error[0]
    assert abs(k1 - kl) < 5 * error[0]
    assert abs(k3 - kl) < 5 * error[1]


def test_no_figure_of_a_step_that_a_process_has_not_reported(tmp_path):
    run = written(tmp_path / "run", [batch_of(1, np.random.default_rng(0), 0.1)], world_size=2)
    with simko.store.open(run) as connection:
        rows = connection.execute("SELECT mean_gap, kl_k3, n_tokens, complete FROM mismatch").fetchall()
    assert rows
    assert set(rows) == {(None, None, None, False)}


def test_a_token_whose_old_policy_is_unknown_is_left_out(tmp_path):
    batch = replace(batch_of(1, np.random.default_rng(0), 0.1), credit=None)
    none = replace(batch_of(2, np.random.default_rng(1), 0.1), sampler_logprob=None)
    with simko.store.open(written(tmp_path / "run", [batch, none])) as connection:
        assert connection.execute("SELECT count(*) FROM mismatch").fetchall() == [(0,)]
