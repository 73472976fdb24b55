"""What logging cost a step is logged too, attributed once, and summed up by SQL."""

import threading
import time

import numpy as np
import pytest
import simko.store
from batches import random_batch
from simko.store import Recorder
from simko.store.layout.run import create_or_resume
from simko.store.writing.parquet import write_part


def test_every_step_has_its_cost_and_nothing_is_counted_twice(tmp_path):
    run = tmp_path / "run"
    create_or_resume(run, {}, resume=False)
    rng = np.random.default_rng(0)
    with Recorder(run, k=4, attempt=1, flush_seconds=0) as recorder:
        for step in range(1, 6):
            recorder.put(random_batch(step, rng))
            recorder.end_step(step, capture_ms=1e4 * step)  # longer than any wait
    with simko.store.open(run) as connection:
        rows = connection.sql("SELECT * FROM costs ORDER BY step").df()
        totals = connection.sql("SELECT * FROM run_costs").df().iloc[0]
        files = connection.sql("SELECT table_name, n_files FROM sizes ORDER BY ALL").fetchall()
    assert list(rows.step) == [1, 2, 3, 4, 5]
    assert rows.step_ms.isna().tolist() == [True, False, False, False, False]
    assert (rows.step_ms[1:] > 0).all()
    np.testing.assert_allclose(rows.capture_ms + rows.queue_wait_ms, 1e4 * np.arange(1, 6))
    assert rows.n_rows.sum() <= recorder.cost.rows and rows.n_bytes.sum() <= recorder.cost.bytes
    assert rows.n_rows.is_monotonic_increasing or rows.n_rows.iloc[0] == 0  # a step's files come after its end
    assert dict(files) == {"tokens": 5, "rollups": 5, "costs": 1}
    assert totals.n_bytes == recorder.cost.bytes and totals.n_dropped == 0
    assert totals.share > 0 and totals.bytes_per_token > 0


def test_device_time_is_asked_for_on_the_recorders_thread_and_may_fail(tmp_path):
    run, asked = tmp_path / "run", []

    def milliseconds():
        asked.append(threading.current_thread().name)
        return 50.0

    def broken():
        raise RuntimeError("the device is gone")

    create_or_resume(run, {}, resume=False)
    rng = np.random.default_rng(0)
    with Recorder(run, k=4, attempt=1) as recorder:
        for step, device_ms in enumerate((milliseconds, broken, None, milliseconds), 1):
            recorder.put(random_batch(step, rng))
            recorder.end_step(step, capture_ms=7.0, device_ms=device_ms)
    assert recorder.error is None and asked == ["simko-recorder-0"] * 2
    with simko.store.open(run) as connection:
        rows = connection.sql("SELECT device_ms, round(probe_ms) FROM costs ORDER BY step").fetchall()
        counted, share = connection.sql(
            "SELECT (SELECT count(DISTINCT step) FROM tokens), share FROM run_costs"
        ).fetchall()[0]
        whole = connection.sql(
            "SELECT sum(probe_ms + queue_wait_ms) / sum(step_ms) FROM costs WHERE step > 1"
        ).fetchall()
    assert rows == [(50.0, 50.0), (None, 7.0), (None, 7.0), (50.0, 50.0)]
    assert counted == 4 and share == pytest.approx(whole[0][0])


def test_waiting_and_dropping_are_told_by_step(tmp_path, monkeypatch):
    gate = threading.Event()

    def slow(*arguments):
        gate.wait()
        return write_part(*arguments)

    monkeypatch.setattr("simko.store.writing.part_files.write_part", slow)
    run = tmp_path / "run"
    create_or_resume(run, {}, resume=False)
    rng = np.random.default_rng(0)
    recorder = Recorder(run, k=4, attempt=1, queue_depth=1, when_full="drop", flush_seconds=0)
    recorder.put(random_batch(1, rng))
    recorder.end_step(1)
    deadline = time.monotonic() + 30
    while recorder.cost.dropped < 2 and time.monotonic() < deadline:  # the first ones fill what room there is
        recorder.put(random_batch(2, rng))
    recorder.end_step(2)
    gate.set()
    recorder.close()
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT step, n_dropped FROM costs ORDER BY step").fetchall() == [(1, 0), (2, 2)]
        assert connection.sql("SELECT n_dropped FROM run_costs").fetchall() == [(2,)]
