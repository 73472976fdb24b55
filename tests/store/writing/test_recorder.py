"""The writer under stress: whole steps, a full queue, a full disk, two writers, a killed process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import simko.store
from batches import random_batch
from simko.store import Recorder
from simko.store.errors import RunBusy, RunExists, RunUnwritable
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume, next_attempt

TESTS = Path(__file__).parents[2]


def new_run(path):
    create_or_resume(path, {"probe": {"k": 4}}, resume=False)
    return path


def test_files_hold_whole_steps_and_the_manifest_names_them_exactly(tmp_path):
    run = new_run(tmp_path / "run")
    rng = np.random.default_rng(0)
    with Recorder(run, k=4, attempt=1, flush_rows=30, flush_seconds=1e9) as recorder:
        for step in range(1, 10):
            recorder.put(random_batch(step, rng))
            recorder.put(random_batch(step, rng, first=6))
            recorder.end_step(step)
    parts = [part for part in read_manifest(run).parts if part.table == "tokens"]
    assert len(parts) > 2
    seen = set()
    for part in parts:
        data = pq.read_table(part.path)
        steps = set(data.column("step").to_pylist())
        assert (min(steps), max(steps), data.num_rows) == (part.first_step, part.last_step, part.rows)
        assert not steps & seen
        seen |= steps
    assert seen == set(range(1, 10))
    on_disk = set(run.rglob("part-*"))
    assert on_disk == {part.path for part in read_manifest(run).parts}


def test_files_are_on_the_disk_before_a_line_names_them(tmp_path, monkeypatch):
    """What a power failure leaves is what was synced: each file, its name, then the line."""
    run, synced = new_run(tmp_path / "run"), []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    with Recorder(run, k=4, attempt=1, flush_seconds=0) as recorder:
        recorder.put(random_batch(1, np.random.default_rng(0)))
        recorder.end_step(1)
        recorder.flush()
    parts = [part for part in read_manifest(run).parts if part.table != "costs"]
    assert {part.table for part in parts} == {"tokens", "rollups"}
    manifest = str(run / "manifest" / "001-000.jsonl")
    named = [n for n, path in enumerate(synced) if path == manifest][1]  # the first line is that of the attempt
    for part in parts:
        whole = synced.index(str(part.path.with_name(f".{part.path.name}.tmp")))
        assert whole < synced.index(str(part.path.parent), whole) < named


def test_floats_have_no_dictionary_and_names_repeat_do(tmp_path):
    run = new_run(tmp_path / "run")
    with Recorder(run, k=4, attempt=1) as recorder:
        recorder.put(random_batch(1, np.random.default_rng(0)))
        recorder.end_step(1)
    metadata = pq.read_metadata(next((run / "tokens").iterdir())).row_group(0)
    columns = {metadata.column(i).path_in_schema: metadata.column(i) for i in range(metadata.num_columns)}
    assert "RLE_DICTIONARY" in columns["step"].encodings
    assert "RLE_DICTIONARY" not in columns["logp_1"].encodings
    assert columns["logp_1"].compression == "ZSTD"
    split = {name for name, column in columns.items() if "BYTE_STREAM_SPLIT" in column.encodings}
    assert split == {
        "logprob",
        "sampler_logprob",
        "entropy",
        "collision",
        "collision_logprob",
        "logp_1",
        "logp_2",
        "logp_3",
        "logp_4",
    }
    assert {columns[name].physical_type for name in split} == {"FLOAT"}  # all that older readers know to put together


def test_readers_see_a_step_only_when_it_is_written(tmp_path):
    run = new_run(tmp_path / "run")
    recorder = Recorder(run, k=4, attempt=1, flush_seconds=1e9)
    recorder.put(random_batch(1, np.random.default_rng(0)))
    recorder.end_step(1)
    recorder.put(random_batch(2, np.random.default_rng(0)))

    def steps():
        with simko.store.open(run) as connection:
            return connection.sql("SELECT DISTINCT step FROM rollups ORDER BY step").fetchall()

    assert steps() == []
    recorder.flush()
    assert steps() == [(1,)]
    recorder.end_step(2)
    recorder.close()
    recorder.close()
    assert steps() == [(1,), (2,)]
    recorder.put(random_batch(3, np.random.default_rng(0)))  # after the end: counted, not raised
    assert recorder.cost.dropped == 1


def test_a_full_queue_drops_and_counts_when_told_to(tmp_path):
    run = new_run(tmp_path / "run")
    gate = threading.Event()
    batch = random_batch(1, np.random.default_rng(0))
    recorder = Recorder(run, k=4, attempt=1, queue_depth=4, when_full="drop")
    recorder.put(lambda: (gate.wait(10), batch)[1])
    time.sleep(0.05)
    for _ in range(5):
        recorder.put(batch)
    assert recorder.cost.dropped == 3
    gate.set()
    recorder.end_step(1)
    recorder.close()
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT sum(n_responses) FROM rollups").fetchall() == [(18,)]
        assert connection.sql("SELECT dropped FROM runs").fetchall() == [(3,)]


def test_a_full_queue_blocks_and_loses_nothing_otherwise(tmp_path):
    run = new_run(tmp_path / "run")
    rng = np.random.default_rng(0)
    with Recorder(run, k=4, attempt=1, queue_depth=1) as recorder:
        for _ in range(50):
            recorder.put(random_batch(1, rng))
        recorder.end_step(1)
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT sum(n_responses) FROM rollups").fetchall() == [(300,)]


def test_a_failed_write_never_raises_and_keeps_what_was_written(tmp_path):
    run = new_run(tmp_path / "run")
    rng = np.random.default_rng(0)
    recorder = Recorder(run, k=4, attempt=1, flush_seconds=0)
    recorder.put(random_batch(1, rng))
    recorder.end_step(1)
    recorder.flush()
    (run / "tokens").rename(run / "moved")
    (run / "tokens").write_text("a file where the folder was")
    recorder.put(random_batch(2, rng))
    recorder.end_step(2)
    with pytest.warns(RuntimeWarning, match="training goes on"):
        recorder.flush()
    for step in (3, 4):
        recorder.put(random_batch(step, rng))
        recorder.end_step(step)
    recorder.close("failed")
    assert isinstance(recorder.error, OSError)
    assert recorder.cost.dropped == 3  # the batch that could not be written and the two after it
    (run / "tokens").unlink()
    (run / "moved").rename(run / "tokens")
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT DISTINCT step FROM tokens").fetchall() == [(1,)]
        assert connection.sql("SELECT status, dropped FROM runs").fetchall() == [("failed", 3)]


def test_a_batch_that_cannot_be_read_costs_nothing_else(tmp_path):
    run = new_run(tmp_path / "run")
    recorder = Recorder(run, k=4, attempt=1, flush_seconds=1e9)
    recorder.put(random_batch(1, np.random.default_rng(0)))
    recorder.end_step(1)

    def broken():
        raise ZeroDivisionError

    recorder.put(broken)
    with pytest.warns(RuntimeWarning, match="training goes on"):
        recorder.flush()
    recorder.close("failed")
    assert recorder.cost.dropped == 1
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT DISTINCT step FROM rollups").fetchall() == [(1,)]


@pytest.mark.filterwarnings("error")
def test_a_failure_where_warnings_are_errors_does_not_leave_training_waiting(tmp_path):
    recorder = Recorder(new_run(tmp_path / "run"), k=4, attempt=1)
    recorder.put(lambda: 1 / 0)
    closing = threading.Thread(target=recorder.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    assert isinstance(recorder.error, ZeroDivisionError)


def test_where_batches_may_be_dropped_a_step_ends_without_waiting(tmp_path):
    taken, gate = threading.Event(), threading.Event()
    batch = random_batch(1, np.random.default_rng(0))
    with Recorder(new_run(tmp_path / "run"), k=4, attempt=1, queue_depth=1, when_full="drop") as recorder:
        recorder.put(lambda: (taken.set(), gate.wait(60), batch)[2])
        assert taken.wait(20)
        for _ in range(3):
            recorder.put(batch)
        ending = threading.Thread(target=recorder.end_step, args=(1,), daemon=True)
        ending.start()
        ending.join(20)
        assert not ending.is_alive()
        gate.set()


def test_a_forked_child_leaves_the_recorder_alone(tmp_path):
    run = new_run(tmp_path / "run")
    with Recorder(run, k=4, attempt=1, queue_depth=1) as recorder:
        child = multiprocessing.get_context("fork").Process(target=recorder.close)
        child.start()
        child.join(20)
        hangs = child.is_alive()
        child.kill()
        assert not hangs
        recorder.put(random_batch(1, np.random.default_rng(0)))
        recorder.end_step(1)
    assert [attempt.status for attempt in read_manifest(run).attempts] == ["finished"]
    assert {part.table for part in read_manifest(run).parts} == {"tokens", "rollups", "costs"}


FULL_DISK = """
import resource, sys, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np
from batches import random_batch
from simko.store import Recorder
from simko.store.layout.run import create_or_resume

run = Path(sys.argv[1])
create_or_resume(run, {"probe": {"k": 4}}, resume=False)
recorder = Recorder(run, k=4, attempt=1, flush_seconds=0)
rng = np.random.default_rng(0)
recorder.put(random_batch(1, rng)); recorder.end_step(1); recorder.flush()
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # no file may grow beyond: what a full disk does to a write
warnings.simplefilter("ignore")
for step in range(2, 6):
    recorder.put(random_batch(step, rng)); recorder.end_step(step); recorder.flush()
recorder.close()
assert recorder.error is not None and recorder.cost.dropped >= 3, (recorder.error, recorder.cost)
"""


def run_script(code, *arguments, **kwargs):
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=environment, **kwargs)


def test_a_full_disk_leaves_a_readable_run_and_no_rubbish(tmp_path):
    run = tmp_path / "run"
    assert run_script(FULL_DISK, run).wait(60) == 0
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT DISTINCT step FROM rollups").fetchall() == [(1,)]
    assert {p.path for p in read_manifest(run).parts} == set(run.rglob("part-*"))
    assert not list(run.rglob(".*.tmp"))


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from batches import random_batch
from simko.store import Recorder
from simko.store.layout.run import create_or_resume, next_attempt

run = Path(sys.argv[1])
create_or_resume(run, {"probe": {"k": 4}}, resume=True)
recorder = Recorder(run, k=4, attempt=next_attempt(run), flush_seconds=0, queue_depth=4)
rng = np.random.default_rng(0)
print("ready", flush=True)
for step in range(1, 100_000):
    recorder.put(random_batch(step, rng)); recorder.end_step(step)
"""


def test_kill_9_leaves_every_listed_file_whole(tmp_path):
    run = tmp_path / "run"
    for attempt in range(1, 6):
        process = run_script(KILLED, run, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.11 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        manifest = read_manifest(run)
        # At most a file that was whole but not yet listed: left out by name, never half read.
        assert all("named in no manifest" in problem for problem in manifest.problems)
        assert [a.status for a in manifest.attempts] == ["stopped"] * attempt
    with simko.store.open(run) as connection:
        steps = connection.sql(
            "SELECT step, count(DISTINCT attempt) FROM rollups GROUP BY step ORDER BY step"
        ).fetchall()
        unsummed = connection.sql("SELECT count(*) FROM rollups r ANTI JOIN tokens t USING (attempt, step)").fetchall()
    assert [step for step, _ in steps] == list(range(1, len(steps) + 1))
    assert all(attempts == 1 for _, attempts in steps)
    assert unsummed == [(0,)]


def test_two_writers_of_one_run_are_refused(tmp_path):
    run = new_run(tmp_path / "run")
    with Recorder(run, k=4, attempt=1):
        with pytest.raises(RunBusy, match="another process"):
            Recorder(run, k=4, attempt=2)
        with Recorder(run, k=4, attempt=1, rank=1, world_size=2):
            pass
    with Recorder(run, k=4, attempt=next_attempt(run)):
        pass


def test_an_existing_run_is_not_touched_without_resume(tmp_path):
    run = new_run(tmp_path / "run")
    before = (run / "run.json").read_bytes()
    with pytest.raises(RunExists, match=r"--run_name.*--resume"):
        create_or_resume(run, {"method": "other"}, resume=False)
    create_or_resume(run, {"method": "other"}, resume=True)
    assert (run / "run.json").read_bytes() == before


@pytest.mark.parametrize("folder", ["/proc/nothing/run", "file/run"])
def test_an_unwritable_folder_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunUnwritable, match="choose another folder"):
        create_or_resume(tmp_path / folder, {}, resume=False)


def test_columns_that_do_not_fit_are_refused_at_once(tmp_path):
    run = new_run(tmp_path / "run")
    with Recorder(run, k=4, attempt=1) as recorder:
        with pytest.raises(ValueError, match="no column colour"):
            recorder.put_responses({"response_id": [1], "colour": ["red"]})
        with pytest.raises(ValueError, match="differ in length"):
            recorder.put_evals({"step": [1], "success": [0.1, 0.2]})


def test_ended_steps_do_not_pile_up_in_memory(tmp_path):
    run = new_run(tmp_path / "run")
    rng = np.random.default_rng(0)
    with Recorder(run, k=4, attempt=1, queue_depth=6, flush_seconds=3600) as recorder:
        for step in range(1, 10):
            recorder.put(random_batch(step, rng))
            recorder.end_step(step)
    spans = [part.last_step - part.first_step + 1 for part in read_manifest(run).parts if part.table == "rollups"]
    assert spans == [3, 3, 3]


def test_what_the_sampler_reported_is_written_and_null_where_it_reported_nothing(tmp_path):
    run, rng = new_run(tmp_path / "run"), np.random.default_rng(0)
    batches = [random_batch(1, rng), random_batch(2, rng)]
    reported = batches[1].logprob + rng.normal(0, 0.1, batches[1].logprob.shape).astype(np.float32)
    reported[0, 0] = np.nan
    batches[1] = replace(batches[1], sampler_logprob=reported)
    with Recorder(run, k=4, attempt=1) as recorder:
        for batch in batches:
            recorder.put(batch)
            recorder.end_step(batch.step)
    with simko.store.open(run) as connection:
        rows = connection.execute(
            "SELECT step, sampler_logprob FROM tokens ORDER BY step, response_id, position"
        ).fetchall()
    expected = [(1, None)] * int(batches[0].mask.sum())
    expected += [(2, None if np.isnan(x) else pytest.approx(x, abs=0)) for x in reported[batches[1].mask]]
    assert rows == expected
    assert rows.count((2, None)) == 1
