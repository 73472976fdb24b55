"""The entropy push in SQL against whole distributions: formula, views, clipping, counterfactuals, named queries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simko.store
from simko.store.demo.small_run import write_demonstration_run
from simko.store.layout.run import create_or_resume
from simko.store.reading.named_queries import named_query
from simko.store.writing.batch import Credit, Shift, TokenBatch
from simko.store.writing.recorder import Recorder
from simko.store.writing.rollup import Rollup

SHAPE, VOCABULARY = (6, 8), 7
VERDICTS = np.array([0, 0, 1, 1, 0, 1], np.int8)
ADVANTAGE = np.array([0.9, 0.4, -0.7, -1.1, 0.0, -0.5])


def ask(folder, sql):
    with simko.store.open(folder) as connection:
        return connection.sql(sql).df()


def asked(folder, name, **given):
    query = named_query(name)
    with simko.store.open(folder) as connection:
        parameters = query.parameters({key: str(value) for key, value in given.items()})
        return connection.sql(query.sql, params=parameters or None).df()


class Whole:
    """Random distributions over 7 tokens, of which K = 4 ranks are logged, and a loss on them."""

    def __init__(self, *, weighting="uniform", bonus=False, smoothed=True, clipped=True):
        rng = np.random.default_rng(5)
        z = rng.normal(size=(*SHAPE, VOCABULARY)) * 2
        self.logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
        self.p = np.exp(self.logp)
        self.order = np.argsort(-self.logp, -1)
        self.sampled = rng.integers(VOCABULARY, size=SHAPE)
        self.ratio = np.exp(0.3 * rng.normal(size=SHAPE)).astype(np.float32)
        self.mask = np.arange(SHAPE[1]) < rng.integers(3, SHAPE[1] + 1, (SHAPE[0], 1))
        self.forking = rng.random(SHAPE) < 0.4
        credit = ADVANTAGE[:, None] * self.ratio
        outside = ((credit > 0) & (self.ratio > 1.2)) | ((credit < 0) & (self.ratio < 0.8))
        self.weight = np.where(outside & clipped, 0, credit).astype(np.float32)
        self.smoothing = np.where((rng.random(SHAPE) < 0.5) & smoothed, 0.3, 0.0).astype(np.float32)
        self.bonus = (0.05 + 0.1 * rng.random(SHAPE)).astype(np.float32) if bonus else None
        self.weighting = weighting
        self.share = np.zeros_like(self.p)
        ranks = self.order[..., :3]
        held = np.ones(ranks.shape) if weighting == "uniform" else np.take_along_axis(self.p, ranks, -1)
        np.put_along_axis(self.share, ranks, held / held.sum(-1, keepdims=True), -1)

    def slope(self):
        """(…, V) ∂H/∂x by central differences of the definition."""
        result = np.zeros_like(self.logp)
        for v in range(VOCABULARY):
            ends = []
            for sign in (1, -1):
                x = self.logp.copy()
                x[..., v] += sign * 1e-5
                logp = x - np.log(np.exp(x).sum(-1, keepdims=True))
                ends.append(-(np.exp(logp) * logp).sum(-1))
            result[..., v] = (ends[0] - ends[1]) / 2e-5
        return result

    def push(self, weight=None, smoothing=None):
        """(B, T) ∂H/∂x along w(ẽ - p) + h·∂H/∂x."""
        weight = self.weight if weight is None else weight
        s = (self.smoothing if smoothing is None else smoothing)[..., None]
        direction = weight[..., None] * ((1 - s) * np.eye(VOCABULARY)[self.sampled] + s * self.share - self.p)
        if self.bonus is not None:
            direction = direction + self.bonus[..., None] * self.slope()
        return (self.slope() * direction).sum(-1)

    def batch(self, step=1, k=4):
        entropy = -(self.p * self.logp).sum(-1)
        gradient = self.p * (self.logp + entropy[..., None])
        top = self.order[..., :k]
        return TokenBatch(
            step=step, response_id=10 * step + np.arange(6), verdict=VERDICTS, mask=self.mask, token_id=self.sampled,
            logprob=np.take_along_axis(self.logp, self.sampled[..., None], -1)[..., 0].astype(np.float32),
            rank=1 + (self.logp > np.take_along_axis(self.logp, self.sampled[..., None], -1)).sum(-1),
            entropy=entropy.astype(np.float32), collision=(self.p**2).sum(-1).astype(np.float32),
            collision_logprob=(self.p**2 * self.logp).sum(-1).astype(np.float32), forking=self.forking,
            top_logprob=np.take_along_axis(self.logp, top, -1).astype(np.float32), top_id=top,
            credit=Credit(
                self.weight, self.ratio, self.smoothing, entropy_weight=self.bonus,
                entropy_slope=None if self.bonus is None else (gradient**2).sum(-1).astype(np.float32),
                smoothing_k=3, smoothing_weighting=self.weighting,
            ),
        )  # fmt: skip

    def responses(self, step=1):
        n, right = 6, VERDICTS == 0
        return {
            "generation": [step - 1] * n, "step": [step] * n, "response_id": (10 * step + np.arange(n)).tolist(),
            "prompt_id": ["a"] * n, "group_id": [step] * n, "reward": right.astype(float).tolist(),
            "verdict": np.where(right, "right", "wrong").tolist(), "advantage": ADVANTAGE.tolist(),
            "n_tokens": self.mask.sum(1).tolist(),
        }  # fmt: skip

    def write(self, folder, method="grpo", *, steps=1, smoothing_k=3, change=lambda batch: batch, shift=None):
        smoothing = {"k": smoothing_k, "weighting": self.weighting}
        create_or_resume(folder, {"method": method, "smoothing": smoothing}, resume=False)
        with Recorder(folder, k=4, attempt=1) as recorder:
            for step in range(1, steps + 1):
                recorder.put_responses(self.responses(step))
                recorder.put(change(self.batch(step)))
                if shift is not None:
                    recorder.put_shift(shift)
                recorder.end_step(step)
        return folder


@pytest.mark.parametrize(("weighting", "bonus"), [("uniform", False), ("softmax", True)])
def test_every_token_and_its_sums_are_those_of_whole_distributions(weighting, bonus, tmp_path):
    whole = Whole(weighting=weighting, bonus=bonus)
    whole.write(tmp_path / "r", "simko")
    expected, mask = whole.push(), whole.mask
    rows = ask(
        tmp_path, "SELECT response_id - 10 AS i, position AS t, entropy_push FROM token_entropy_push ORDER BY 1, 2"
    )
    assert len(rows) == mask.sum()
    np.testing.assert_allclose(rows.entropy_push, expected[rows.i, rows.t], rtol=1e-4, atol=1e-6)
    sums = ask(tmp_path, "FROM entropy_push").set_index("verdict")
    assert sums.complete.all() and sums.loc["all"].n_tokens == mask.sum()
    of = {"all": np.ones(6, bool), "right": VERDICTS == 0, "wrong": VERDICTS == 1}
    assert set(sums.index) == set(of)
    for verdict, rows in of.items():
        counted = mask & rows[:, None]
        assert sums.entropy_push[verdict] == pytest.approx(expected[counted].sum() / mask.sum(), rel=1e-4)
        forking = expected[counted & whole.forking].sum() / mask.sum()
        assert sums.forking_push[verdict] == pytest.approx(forking, rel=1e-4)


def test_what_clipping_withholds(tmp_path):
    whole = Whole(smoothed=False)
    whole.write(tmp_path / "r")
    free = Whole(smoothed=False, clipped=False).push()
    clipped = whole.mask & (whole.weight == 0) & (ADVANTAGE != 0)[:, None]
    high, low = clipped & (ADVANTAGE > 0)[:, None], clipped & (ADVANTAGE < 0)[:, None]
    assert high.any() and low.any()
    (row,) = asked(tmp_path, "entropy-push-clipped").itertuples()
    assert (row.n_tokens, row.n_high, row.n_low) == (whole.mask.sum(), high.sum(), low.sum())
    assert row.withheld_high == pytest.approx(free[high].sum() / whole.mask.sum(), rel=1e-4)
    assert row.withheld_low == pytest.approx(free[low].sum() / whole.mask.sum(), rel=1e-4)
    assert row.entropy_push + row.withheld_high + row.withheld_low == pytest.approx(free[whole.mask].mean(), rel=1e-4)
    whole.write(tmp_path / "own", "forking_tokens")
    assert ask(tmp_path / "own", "SELECT count(clipped) AS n FROM token_entropy_push").n.item() == 0


def test_what_another_method_would_have_pushed(tmp_path):
    whole = Whole()
    whole.write(tmp_path / "r")
    right, mask = (VERDICTS == 0)[:, None], whole.mask
    of = {side: mask[(VERDICTS == 0) == side].sum() / mask.sum() for side in (True, False)}
    reward = (VERDICTS == 0).astype(float)
    grpo = ((reward - reward.mean()) / (reward.std(ddof=1) + 1e-4))[:, None]
    first = whole.order[..., 0] == whole.sampled
    credits = {
        "grpo": grpo, "simko": grpo * np.where((grpo < 0) & whole.forking & first, 1.1, 1),
        "psr": right / of[True], "nsr": (right - 1.0) / of[False], "w_reinforce": np.where(right, 0.1, -1.0),
    }  # fmt: skip
    answer = asked(tmp_path, "entropy-push-under").set_index("method")
    assert set(answer.index) == set(credits) and (answer.n_steps == 1).all()
    for method, credit in credits.items():
        credit = np.broadcast_to(credit, SHAPE)
        outside = ((credit > 0) & (whole.ratio > 1.2)) | ((credit < 0) & (whole.ratio < 0.8))
        smoothing = np.where(whole.forking & right & (method == "simko"), 0.1, 0.0)
        push = whole.push(np.where(outside, 0, credit * whole.ratio), smoothing) * mask
        row = answer.loc[method]
        assert row.entropy_push == pytest.approx(push.sum() / mask.sum(), rel=1e-3, abs=1e-6)
        assert row.from_wrong == pytest.approx(push[VERDICTS == 1].sum() / mask.sum(), rel=1e-3, abs=1e-6)
        assert row.forking_push == pytest.approx(push[whole.forking].sum() / mask.sum(), rel=1e-3, abs=1e-6)


def test_the_measured_change_is_a_mean_over_the_tokens_scored_again(tmp_path):
    whole, rng = Whole(), np.random.default_rng(0)
    change = rng.normal(size=SHAPE)
    change[0, 0] = np.nan
    whole.write(tmp_path / "r", shift=Shift(VERDICTS, whole.mask, whole.forking, rng.normal(size=(*SHAPE, 4)), change))
    counted = whole.mask & np.isfinite(change)
    answer = ask(tmp_path, "FROM entropy_push").set_index("verdict")
    assert answer["shift"]["all"] == pytest.approx(change[counted].mean())
    assert answer.forking_shift["all"] == pytest.approx(change[counted & whole.forking].sum() / counted.sum())
    wrong = counted & (VERDICTS == 1)[:, None]
    assert answer["shift"]["wrong"] == pytest.approx(change[wrong].sum() / counted.sum())


def test_what_is_not_known_is_no_number(tmp_path):
    def credit(batch, **changed):
        return replace(batch, credit=replace(batch.credit, **changed))

    whole = Whole()
    whole.smoothing += np.float32(0.01)
    whole.write(tmp_path / "no Σp² log p", change=lambda batch: replace(batch, collision_logprob=None))
    whole.write(tmp_path / "no loss", change=lambda batch: replace(batch, credit=None))
    whole.write(tmp_path / "beyond K", change=lambda batch: credit(batch, smoothing_k=9), smoothing_k=9)
    whole.write(tmp_path / "no slope", change=lambda batch: credit(batch, entropy_weight=0 * whole.p[..., 0] + 1))
    whole.write(tmp_path / "top alone", change=lambda b: replace(b, entropy=None, collision=None, forking=None))
    with simko.store.open(tmp_path) as connection:
        assert connection.sql("FROM entropy_push WHERE entropy_push IS NOT NULL").fetchall() == []
        sql = "SELECT count(*), count(entropy_push) FROM token_entropy_push GROUP BY run"
        assert connection.sql(sql).fetchall() == [(whole.mask.sum(), 0)] * 5


def test_a_token_without_a_finite_statistic_is_left_out():
    whole = Whole()
    batch = whole.batch()
    batch.collision_logprob[whole.mask.nonzero()[0][0], whole.mask.nonzero()[1][0]] = np.nan
    rollup = Rollup(4)
    rollup.add(batch)
    rows = rollup.rows(1)
    assert sum(row["n_nonfinite"] for row in rows) == 1
    assert sum(row["n_tokens"] for row in rows) == whole.mask.sum() - 1
    assert all(np.isfinite(row["sum_entropy_push"]) for row in rows)


def test_how_well_push_and_change_go_together(tmp_path):
    write_demonstration_run(tmp_path, name="r", steps=60, responses=16)
    series = ask(tmp_path, "SELECT step, entropy_push, shift FROM entropy_push WHERE verdict = 'all' ORDER BY step")
    pairs = series.dropna()
    answer = asked(tmp_path, "entropy-push-fit").set_index("measured_on")
    row = answer.loc["same tokens"]
    assert row.n_steps == len(pairs) == 30
    r = np.corrcoef(pairs.entropy_push, pairs["shift"])[0, 1]
    assert row.r == pytest.approx(r) and row.low > 0  # the demonstration moves along its push
    before, after = pairs[:-1], pairs[1:]
    shared = np.prod([np.corrcoef(before[c], after[c])[0, 1] for c in ("entropy_push", "shift")])
    n = 30 * (1 - max(0, shared)) / (1 + max(0, shared))
    assert row.n_independent == pytest.approx(n)
    interval = np.tanh(np.arctanh(r) + np.array([-1, 1]) * 1.96 / np.sqrt(n - 3))
    assert (row.low, row.high) == pytest.approx(tuple(interval))
    assert row.same_sign == pytest.approx((np.sign(pairs.entropy_push) == np.sign(pairs["shift"])).mean())
    entropy = ask(tmp_path, "SELECT sum(sum_entropy) / sum(n_tokens) AS h FROM rollups GROUP BY step ORDER BY step").h
    other = np.corrcoef(series.entropy_push[:-1], np.diff(entropy))[0, 1]
    assert answer.r["next step, other tokens"] == pytest.approx(other)


def test_too_few_steps_have_no_correlation(tmp_path):
    write_demonstration_run(tmp_path, name="r", steps=9, responses=16)
    assert asked(tmp_path, "entropy-push-fit").empty


def test_a_run_of_the_schema_before_has_none():
    with simko.store.open(Path(__file__).parent / "fixtures" / "v5") as connection:
        assert connection.sql("FROM entropy_push").fetchall() == []
        assert connection.sql("SELECT count(entropy_push) FROM token_entropy_push").fetchall() == [(0,)]
        for name in ("entropy-push-under", "entropy-push-clipped", "entropy-push-fit"):
            query = named_query(name)
            assert connection.sql(query.sql, params=query.parameters({}) or None).fetchall() == []
