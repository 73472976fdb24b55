"""Fewer or coarser token rows: the same for every writer, and never anything of a roll-up."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from batches import random_batch
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.store import Recorder
from simko.store.errors import LoggedRowsInvalid
from simko.store.layout.run import create_or_resume
from simko.store.writing.row_sampling import LoggedRows


def write(folder, rows, steps=6):
    create_or_resume(folder, {}, resume=False)
    rng = np.random.default_rng(0)
    with Recorder(folder, k=4, attempt=1, rows=rows) as recorder:
        for step in range(1, steps + 1):
            recorder.put(random_batch(step, rng))
            recorder.put(random_batch(step, rng, first=1000))
            recorder.end_step(step)
    return folder


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return write(tmp_path_factory.mktemp("all") / "run", None)


@settings(max_examples=effort(15), deadline=None)
@given(st.integers(1, 7), st.floats(0.01, 1.0), st.sampled_from(["float32", "bfloat16"]), st.integers(0, 2**31))
def test_rollups_do_not_depend_on_the_rows(everything, tmp_path_factory, every, responses, precision, seed):
    rows = LoggedRows(every, responses, precision, seed)
    run = write(tmp_path_factory.mktemp("some") / "run", rows)
    assert pq.read_table(run / "rollups").equals(pq.read_table(everything / "rollups"))
    whole = pq.read_table(everything / "tokens").to_pandas()
    kept = whole[rows.of(whole.response_id.to_numpy()) & ((whole.step == 1) | (whole.step % every == 0))]
    if len(kept):
        result = pq.read_table(run / "tokens").to_pandas()
        for column in whole.columns:
            expected = kept[column].to_numpy()
            if column.startswith("logp_"):
                expected = rows.stored(expected)
            np.testing.assert_array_equal(result[column].to_numpy(), expected)
    else:
        assert not (run / "tokens").exists()


def test_whole_responses_are_chosen_by_their_id_alone():
    rows, ids = LoggedRows(responses=0.25), np.arange(200_000)
    chosen = rows.of(ids)
    assert chosen.mean() == pytest.approx(0.25, abs=0.005)
    assert (rows.of(ids[::-1])[::-1] == chosen).all()
    assert (LoggedRows(responses=0.5).of(ids) >= chosen).all()  # a larger share keeps what a smaller one had
    other = LoggedRows(responses=0.25, seed=1).of(ids)
    assert (other & chosen).mean() == pytest.approx(0.0625, abs=0.005)
    for stride in (2, 8, 64):  # groups and ranks share factors in their ids: none is preferred
        assert chosen[::stride].mean() == pytest.approx(0.25, abs=0.02)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_bfloat16_is_torchs(values):
    logprob = np.array(values, np.float32)
    rounded = torch.from_numpy(logprob).bfloat16().float().numpy()
    finite = np.isfinite(logprob)
    np.testing.assert_array_equal(LoggedRows(precision="bfloat16").stored(logprob)[finite], rounded[finite])


def test_what_is_not_finite_stays_so():
    odd = np.array([np.nan, -np.inf, np.inf], np.float32)
    np.testing.assert_array_equal(LoggedRows(precision="bfloat16").stored(odd), odd)


def test_bfloat16_rows_are_smaller(tmp_path):
    sizes = {}
    for precision in ("float32", "bfloat16"):
        rng = np.random.default_rng(1)
        create_or_resume(tmp_path / precision, {}, resume=False)
        with Recorder(tmp_path / precision, k=4, attempt=1, rows=LoggedRows(precision=precision)) as recorder:
            for first in range(0, 3_000, 6):
                recorder.put(random_batch(1, rng, first=first))
            recorder.end_step(1)
        sizes[precision] = recorder.cost.bytes / recorder.cost.rows
    assert sizes["bfloat16"] < sizes["float32"] - 6  # two bytes of every one of the four, less what zstd makes of them


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"every": 0}, "give 1"),
        ({"responses": 0.0}, r"lies in \(0, 1\]"),
        ({"responses": 1.5}, r"lies in \(0, 1\]"),
        ({"responses": float("nan")}, r"lies in \(0, 1\]"),
        ({"precision": "int8"}, "give float32 or bfloat16"),
    ],
)
def test_values_that_make_no_sense(values, message):
    with pytest.raises(LoggedRowsInvalid, match=message):
        LoggedRows(**values)
