"""`simko compact`, `gc` and `doctor` as people meet them."""

from __future__ import annotations

import numpy as np
import pytest
import simko.store
from batches import random_batch
from simko.cli.simko import main
from simko.store import Recorder
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "first"
    create_or_resume(folder, {"run": "first", "probe": {"k": 4}}, resume=False)
    rng = np.random.default_rng(0)
    with Recorder(folder, k=4, attempt=1, flush_seconds=0) as recorder:
        for step in (1, 2, 3):
            recorder.put(random_batch(step, rng))
            recorder.end_step(step)
            recorder.flush()
    return folder


def test_compact_then_gc(run, capsys, monkeypatch):
    assert main(["compact", str(run)]) == 0
    output = capsys.readouterr().out
    assert "9 files" in output and "merged into 3" in output and f"simko gc {run} --delete" in output
    assert main(["compact", str(run)]) == 0
    assert "nothing to merge" in capsys.readouterr().out
    assert main(["gc", str(run), "--delete"]) == 0
    assert "0 files" in capsys.readouterr().out  # not yet
    monkeypatch.setattr("simko.store.maintenance.garbage._seconds_since", lambda moment: 61.0)
    assert main(["gc", str(run)]) == 0
    assert "9 files" in capsys.readouterr().out
    assert len(list(run.rglob("part-*.parquet"))) == 9
    assert main(["gc", str(run), "--delete"]) == 0
    assert not list(run.rglob("part-*.parquet"))
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT count(DISTINCT step) FROM tokens").fetchall() == [(3,)]


def test_a_healthy_run(run, capsys):
    assert main(["doctor", str(run.parent), "--deep"]) == 0
    output = capsys.readouterr().out
    assert "first: healthy; 9 files" in output and "attempt 1: finished" in output
    assert main(["compact", str(run)]) == 0
    assert main(["doctor", str(run), "--deep"]) == 0


def test_what_is_missing_is_found(run, capsys):
    parts = {(p.table, p.first_step): p.path for p in read_manifest(run).parts}
    parts["tokens", 2].unlink()
    assert main(["doctor", str(run)]) == 1
    output = capsys.readouterr().out
    assert "first: 1 finding" in output and str(parts["tokens", 2]) in output
    assert main(["doctor", str(run), "--deep"]) == 1
    assert "attempt 1, step 2: 0 token rows where" in capsys.readouterr().out


def test_rows_damaged_inside_a_file_are_found_by_reading_all(run, capsys):
    victim = next(p.path for p in read_manifest(run).parts if p.table == "tokens")
    content = bytearray(victim.read_bytes())
    content[60:140] = bytes(80)
    victim.write_bytes(bytes(content))
    assert main(["doctor", str(run), "--deep"]) == 1
    assert str(victim) in capsys.readouterr().out


def test_what_was_not_read_through_is_told_and_read_when_asked(run, capsys, monkeypatch):
    parts = [p for p in read_manifest(run).parts if p.table in ("tokens", "responses", "samples")]
    victim = max(parts, key=lambda p: p.bytes)
    content = bytearray(victim.path.read_bytes())
    content[len(content) // 3] ^= 1
    victim.path.write_bytes(bytes(content))
    size = sum(p.bytes for p in parts) / 1e6
    told = f"{len(parts)} files of token rows and responses ({size:.1f} MB) were opened but not read through"
    assert main(["doctor", str(run)]) == 1  # they are few bytes
    output = capsys.readouterr().out
    assert f"{victim.path}: altered since it was written (checksum)" in output and "read through" not in output
    monkeypatch.setattr("simko.store.reading.loaded_runs._VERIFIED_BYTES", size * 1e6 - 1)
    main(["doctor", str(run)])
    output = capsys.readouterr().out
    assert told in output and f"`simko doctor {run} --deep`" in output and "altered" not in output
    assert main(["doctor", str(run), "--deep"]) == 1
    output = capsys.readouterr().out
    assert f"{victim.path}: altered since it was written (checksum)" in output and "read through" not in output


def test_rows_written_twice_are_found(run, capsys):
    with Recorder(run, k=4, attempt=2) as recorder:
        for _ in range(2):
            recorder.put(random_batch(1, np.random.default_rng(0)))
        recorder.end_step(1)
    assert main(["doctor", str(run), "--deep"]) == 1
    assert "more than once" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["compact", "gc", "doctor"])
def test_mistakes_are_one_line(command, tmp_path, capsys):
    assert main([command, str(tmp_path / "missing")]) == 2
    assert main([command, "--force"]) == 2
    output = capsys.readouterr().err.splitlines()
    assert len(output) == 2 and all(line.startswith(f"simko {command}: ") for line in output)
