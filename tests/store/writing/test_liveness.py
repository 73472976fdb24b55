"""Signs of life: who runs, who is silent, who has stopped, seen from this process, another host or a container."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import manifests
import numpy as np
import pytest
from batches import random_batch
from simko.store.layout.liveness import SILENT_SECONDS, STOPPED_SECONDS, in_words, sign_of_life
from simko.store.layout.manifest import ManifestReader, read_manifest
from simko.store.layout.run import create_or_resume
from simko.store.maintenance import garbage
from simko.store.maintenance.doctor import check
from simko.store.writing.recorder import Recorder

LONG_AGO = 7 * 3600


@pytest.fixture
def live(tmp_path):
    """A run that is being written, and its recorder."""
    run = tmp_path / "run"
    create_or_resume(run, {"run": "run", "probe": {"k": 4}}, resume=False)
    recorder = Recorder(run, k=4, attempt=1, flush_seconds=0.0)
    recorder.put(random_batch(1, np.random.default_rng(0)))
    recorder.end_step(1)
    recorder.flush()
    yield run, recorder
    recorder.close()


def seen_from_elsewhere(run):
    """The manifest as another host sees it."""
    manifest = run / "manifest" / "001-000.jsonl"
    manifests.rewrite(manifest, lambda entry: entry | ({"host": "elsewhere"} if "host" in entry else {}))
    return manifest


def status(run):
    (attempt,) = read_manifest(run).attempts
    return attempt.status, attempt.last_seen is not None


@pytest.mark.parametrize(
    ("quiet", "expected"),
    [
        (0, ("running", False)),
        (SILENT_SECONDS + 5, ("silent", True)),
        (STOPPED_SECONDS + 5, ("stopped", True)),
        (-1000, ("running", False)),  # a clock that goes before ours
    ],
)
def test_from_another_host_it_goes_by_the_sign_of_life(live, quiet, expected):
    run, _ = live
    manifest = seen_from_elsewhere(run)
    sign, moment = sign_of_life(manifest), time.time() - quiet
    os.utime(manifest, (0, 0))  # the manifest itself may be old: a long step
    os.utime(sign, (moment, moment))
    assert status(run) == expected


def test_a_manifest_is_put_together_again_only_when_something_was_written_or_its_writer_does_something_else(live):
    run, recorder = live
    reader = ManifestReader(run)
    first = reader.read()
    assert reader.read() is first and reader.verify(["rollups"], first) is first
    recorder.put(random_batch(2, np.random.default_rng(0)))
    recorder.end_step(2)
    recorder.flush()
    second = reader.read()
    assert set(second.parts) > set(first.parts)
    assert reader.read() is second
    manifest = seen_from_elsewhere(run)
    third = reader.read()
    assert third.attempts[0].status == "running" and reader.read() is third
    moment = time.time() - SILENT_SECONDS - 5
    os.utime(sign_of_life(manifest), (moment, moment))
    assert [attempt.status for attempt in reader.read().attempts] == ["silent"]


def test_a_number_of_another_container_is_not_asked_after(live):
    run, _ = live
    manifest = run / "manifest" / "001-000.jsonl"
    manifests.rewrite(
        manifest, lambda entry: entry | ({"pid": 2**22 - 1, "namespace": "pid:[1]"} if "pid" in entry else {})
    )
    assert status(run) == ("running", False)


def test_a_process_that_is_gone_has_stopped_at_once(live):
    run, _ = live
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    manifest = run / "manifest" / "001-000.jsonl"
    manifests.rewrite(manifest, lambda entry: entry | ({"pid": gone.pid} if "pid" in entry else {}))
    assert status(run) == ("stopped", True)
    checkups, _ = check(run)
    assert any("was killed after" in finding for finding in checkups[0].findings)


def test_an_idle_writer_gives_signs_of_life_and_takes_them_away(live, monkeypatch):
    run, recorder = live
    sign = sign_of_life(run / "manifest" / "001-000.jsonl")
    monkeypatch.setattr("simko.store.writing.recorder._SIGN_SECONDS", 0.01)
    os.utime(sign, (0, 0))
    recorder.flush()  # it waits for work with the new patience from here on
    deadline = time.monotonic() + 10
    while sign.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert time.time() - sign.stat().st_mtime < 60
    recorder.close()
    assert not sign.exists()
    assert status(run) == ("finished", False)


def test_silence_is_told_in_minutes():
    moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - 300))
    assert in_words("silent", moment) == "silent for 5 min"
    assert in_words("stopped", moment) == "stopped"


def stray(run, age=LONG_AGO):
    """A finished file that no manifest names."""
    path = run / "tokens" / "part-001-000-000077.parquet"
    path.write_bytes(b"PAR1 rows PAR1")
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def test_a_live_run_that_looks_dead_from_here_keeps_its_files(live):
    """In a container the process cannot be seen, and a shared folder may show old times: the lock is what tells."""
    run, _ = live
    path = stray(run)
    manifest = seen_from_elsewhere(run)
    os.utime(sign_of_life(manifest), (0, 0))
    assert status(run) == ("stopped", True)
    assert garbage.collect(run) == [] and path.exists()


def test_only_strays_that_are_hours_old_are_garbage(live):
    run, recorder = live
    recorder.close()
    path = stray(run, age=3600)
    assert garbage.garbage(run) == []
    stray(run)
    assert [item.path for item in garbage.collect(run)] == [path]


def test_doctor_tells_runs_apart_whose_names_begin_alike(live, tmp_path):
    _, recorder = live
    recorder.close()
    longer = tmp_path / "run-2"
    create_or_resume(longer, {"run": "run-2", "probe": {"k": 4}}, resume=False)
    with Recorder(longer, k=4, attempt=1) as other:
        other.put(random_batch(1, np.random.default_rng(0)))
        other.end_step(1)
    next((longer / "rollups").glob("*.parquet")).unlink()
    healthy = {checkup.run: checkup.healthy for checkup in check(tmp_path)[0]}
    assert healthy == {"run": True, "run-2": False}
