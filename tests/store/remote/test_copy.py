"""The copy of runs in a bucket, which is a folder here; `tests/readers/test_bucket.py` asks a server for S3."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from resumed_run import write_attempt
from simko.cli.simko import main
from simko.store import Catalog
from simko.store.errors import RemoteUnreachable
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.garbage import collect
from simko.store.remote import address
from simko.store.remote.bucket import Object


class Folder:
    """A bucket that is a folder and notes what was read."""

    def __init__(self, root: Path) -> None:
        self.root, self.name, self.reads, self.down = root, "logs", [], False

    def objects(self, prefix):
        if self.down:
            raise RemoteUnreachable("s3://logs: cannot be reached")
        files = {str(p.relative_to(self.root)): p.stat() for p in sorted(self.root.rglob("*")) if p.is_file()}
        return [
            Object(key, stat.st_size, str(stat.st_mtime_ns), str(stat.st_mtime_ns))
            for key, stat in files.items()
            if key.startswith(prefix)
        ]

    def read(self, key, first=0, end=None):
        result = (self.root / key).read_bytes()[first:end]
        self.reads.append((key, len(result)))
        return result


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    result = Folder(tmp_path / "logs")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("SIMKO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(address, "_LEAST_SECONDS", -1.0)
    monkeypatch.setattr(address, "Bucket", lambda name: result)
    write_attempt(result.root / "runs" / "run", 1, 0, 2)
    return result


def answers(folder):
    catalog = Catalog(folder, views=("tokens", "rollups"))
    assert catalog.problems == []
    views = ("tokens", "rollups", "attempts")
    return [sorted(catalog.connection.execute(f"SELECT * FROM {view}").fetchall(), key=repr) for view in views]


def test_a_run_that_grows_is_resumed_merged_and_cleared(bucket):
    runs = bucket.root / "runs"
    assert answers("s3://logs/runs") == answers(runs)
    bucket.reads.clear()
    assert answers("s3://logs/runs") == answers(runs) and bucket.reads == []
    write_attempt(runs / "run", 2, 1, 2)
    assert answers("s3://logs/runs") == answers(runs)
    assert all("002-000" in key for key, _ in bucket.reads)
    bucket.reads.clear()
    compact(runs / "run")
    assert answers("s3://logs/runs") == answers(runs)
    assert all("merge" in key for key, _ in bucket.reads) and bucket.reads
    collect(runs / "run", grace=0)
    assert answers("s3://logs/runs") == answers(runs)
    copy = address.local("s3://logs/runs/run")
    there = {str(p.relative_to(runs / "run")) for p in (runs / "run").glob("*/*.parquet")}
    assert {str(p.relative_to(copy)) for p in copy.glob("*/*.parquet")} == there


def test_a_run_written_anew_under_its_name(bucket):
    runs = bucket.root / "runs"
    answers("s3://logs/runs")
    shutil.rmtree(runs / "run")
    write_attempt(runs / "run", 1, 0, 1, k=3)
    assert answers("s3://logs/runs") == answers(runs)


def test_only_a_sign_of_life_that_changes_tells(bucket):
    run = bucket.root / "runs" / "run"
    manifest, sign = run / "manifest" / "001-000.jsonl", run / "manifest" / ".alive-001-000"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))

    def status():
        return Catalog("s3://logs/runs").connection.execute("SELECT status FROM runs").fetchall()

    assert status() == [("unknown",)]
    sign.touch()
    assert status() == [("unknown",)] and status() == [("unknown",)]
    os.utime(sign)
    assert status() == [("running",)]
    os.utime(address.local("s3://logs/runs/run") / "manifest" / sign.name, (0, 0))
    assert status() == [("unknown",)]


def test_what_is_damaged_there_is_named_and_the_rest_is_served(bucket):
    first, second = sorted((bucket.root / "runs/run/tokens").glob("*.parquet"))
    content = bytearray(first.read_bytes())
    content[50] ^= 1
    first.write_bytes(content)
    catalog = Catalog("s3://logs/runs")
    assert any(first.name in line and "checksum" in line for line in catalog.problems)
    assert catalog.connection.execute("SELECT DISTINCT step FROM tokens").fetchall() == [(2,)]
    second.unlink()
    assert any(second.name in line for line in Catalog("s3://logs/runs").problems)


def test_without_a_network_the_copy_is_shown_and_an_address_refused(bucket, capsys):
    copy = address.local("s3://logs/runs")
    bucket.down = True
    catalog = Catalog(copy)
    assert catalog.problems == ["s3://logs: cannot be reached; shown is the copy of the last look"]
    assert [run.name for run in catalog.runs] == ["run"]
    assert main(["ls", "--runs", "s3://logs/runs"]) == 2
    assert capsys.readouterr().err == "simko ls: s3://logs: cannot be reached\n"


def test_commands_read_it_and_write_nothing(bucket, capsys):
    for arguments in (
        ["ls", "--runs", "s3://logs/runs"],
        ["show", "run", "--runs", "s3://logs/runs"],
        ["query", "SELECT run FROM runs", "--runs", "s3://logs/runs/run/"],
    ):
        assert main(arguments) == 0, arguments
        out, err = capsys.readouterr()
        assert "run" in out and err == "", arguments
    for command in ("compact", "gc"):
        assert main([command, "run", "--runs", "s3://logs/runs"]) == 2
        assert "only read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"), [("s3://logs/none", "nothing there"), ("s3://", "no address"), ("s3://logs/../x", "no address")]
)
def test_mistakes_are_one_line(given, words, bucket, capsys):
    assert main(["ls", "--runs", given]) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1


def test_what_was_seen_may_be_damaged(bucket):
    expected = answers("s3://logs/runs")
    copy = address.local("s3://logs/runs/run")
    for content in ("{", json.dumps({"tags": 1})):
        (copy / ".mirror.json").write_text(content)
        assert answers("s3://logs/runs") == expected


def test_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SIMKO_CACHE", str(tmp_path))
    monkeypatch.setattr("simko.store.extras._installed", lambda module: False)
    assert main(["ls", "--runs", "s3://logs/runs"]) == 2
    assert "pip install 'simko[s3]'" in capsys.readouterr().err
