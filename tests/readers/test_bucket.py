"""Runs in a bucket, on a server for S3 on this machine: a run that grows, is resumed and merged between two looks."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import boto3
import pytest
import simko.store
from moto.server import ThreadedMotoServer
from resumed_run import write_attempt
from simko.cli.simko import main
from simko.store import Catalog
from simko.store.errors import RemoteUnreachable, UsageError
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.garbage import collect
from simko.store.remote import address
from simko.store.remote.bucket import Bucket

VIEWS = ("tokens", "rollups", "evals", "costs", "lambda_k", "attempts")


@pytest.fixture(scope="session")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("SIMKO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(address, "_LEAST_SECONDS", -1.0)
    client = boto3.client("s3")
    client.create_bucket(Bucket="logs")
    yield client
    for entry in client.list_objects_v2(Bucket="logs").get("Contents", ()):
        client.delete_object(Bucket="logs", Key=entry["Key"])
    client.delete_bucket(Bucket="logs")


@pytest.fixture
def reads(monkeypatch):
    """Key and bytes of each read."""
    seen = []
    read = Bucket.read

    def noted(self, key, first=0, end=None):
        result = read(self, key, first, end)
        seen.append((key, len(result)))
        return result

    monkeypatch.setattr(Bucket, "read", noted)
    return seen


def upload(client, folder: Path, prefix: str = "runs/run/") -> None:
    """Make the bucket what the folder is."""
    files = {prefix + str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    for entry in client.list_objects_v2(Bucket="logs", Prefix=prefix).get("Contents", ()):
        if entry["Key"] not in files:
            client.delete_object(Bucket="logs", Key=entry["Key"])
    for key, path in files.items():
        client.put_object(Bucket="logs", Key=key, Body=path.read_bytes())


def answers(folder):
    catalog = Catalog(folder)
    assert catalog.problems == []
    return {view: sorted(catalog.connection.execute(f"SELECT * FROM {view}").fetchall(), key=repr) for view in VIEWS}


def test_a_run_that_grows_is_resumed_and_merged(bucket, tmp_path, reads):
    run = tmp_path / "made" / "run"
    write_attempt(run, 1, 0, 3)
    upload(bucket, run)
    assert answers("s3://logs/runs") == answers(run.parent)
    reads.clear()
    assert answers("s3://logs/runs") == answers(run.parent)
    assert reads == []

    write_attempt(run, 2, 2, 2)  # resumed
    upload(bucket, run)
    reads.clear()
    assert answers("s3://logs/runs/run") == answers(run)
    assert not any("-001-" in key for key, _ in reads if key.endswith(".parquet"))

    assert compact(run).replaced > 4
    upload(bucket, run)
    reads.clear()
    assert answers("s3://logs/runs") == answers(run.parent)
    assert {key.split("/")[-1][:6] for key, _ in reads if key.endswith(".parquet")} == {"merged"}
    collect(run, grace=0)
    upload(bucket, run)
    assert answers("s3://logs/runs") == answers(run.parent)
    copy = address.local("s3://logs/runs/run")
    files = {str(p.relative_to(run)) for p in run.glob("*/*.parquet")}
    assert {str(p.relative_to(copy)) for p in copy.glob("*/*.parquet")} == files


def test_the_first_look_after_a_merge_fetches_no_merged_part(bucket, tmp_path, reads):
    run = tmp_path / "made" / "run"
    write_attempt(run, 1, 0, 3)
    compact(run)
    upload(bucket, run)
    assert answers("s3://logs/runs") == answers(run.parent)
    assert not any("/tokens/part-" in key for key, _ in reads)


def test_a_run_written_anew_under_its_name(bucket, tmp_path):
    run = tmp_path / "made" / "run"
    write_attempt(run, 1, 0, 3)
    upload(bucket, run)
    answers("s3://logs/runs")
    shutil.rmtree(run)
    write_attempt(run, 1, 0, 2, k=3)
    upload(bucket, run)
    assert answers("s3://logs/runs") == answers(run.parent)


def test_commands_read_it(bucket, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "made" / "run"
    write_attempt(run, 1, 0, 3)
    upload(bucket, run)
    for arguments in (
        ["ls", "--runs", "s3://logs/runs"],
        ["ls", "s3://logs/runs/run/"],
        ["show", "run", "--runs", "s3://logs/runs"],
        ["show", "s3://logs/runs/run"],
        ["query", "SELECT run FROM runs", "--runs", "s3://logs/runs"],
        ["files", "--table", "rollups", "--format", "paths", "--runs", "s3://logs/runs"],
    ):
        assert main(arguments) == 0, arguments
        out, err = capsys.readouterr()
        assert "run" in out and err == "", arguments
    monkeypatch.setenv("SIMKO_RUNS", "s3://logs/runs")
    assert main(["query", "SELECT run FROM runs", "--format", "csv"]) == 0
    assert capsys.readouterr().out.split() == ["run", "run"]
    with simko.store.open("s3://logs/runs") as connection:
        assert connection.execute("SELECT max(step) FROM rollups").fetchall() == [(3,)]
    for command in ("compact", "gc"):
        assert main([command, "run"]) == 2
        assert "only read" in capsys.readouterr().err


def unended(run: Path) -> None:
    """As a writer on another host left it: without its last line."""
    manifest = run / "manifest" / "001-000.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))
    (run / "manifest" / ".alive-001-000").touch()


def status(folder):
    return Catalog(folder).connection.execute("SELECT status FROM runs").fetchall()[0][0]


def test_a_sign_of_life_that_was_not_seen_to_change_tells_nothing(bucket, tmp_path):
    run = tmp_path / "made" / "run"
    write_attempt(run, 1, 0, 3)
    upload(bucket, run)
    assert status("s3://logs/runs") == "finished"
    unended(run)
    shutil.rmtree(tmp_path / "cache")
    upload(bucket, run)  # just now, whenever it was touched
    assert [status("s3://logs/runs") for _ in range(2)] == ["unknown"] * 2
    copy = address.local("s3://logs/runs/run")
    seen = json.loads((copy / ".mirror.json").read_text())
    (name,) = seen["alive"]
    (copy / ".mirror.json").write_text(json.dumps(seen | {"alive": {name: "2020-01-01T00:00:00+00:00"}}))
    assert status("s3://logs/runs") == "running"  # it has changed since the last look
    os.utime(copy / name, (0, 0))
    assert status("s3://logs/runs") == "unknown"


def test_what_is_damaged_there_is_named(bucket, tmp_path):
    run = tmp_path / "made" / "run"
    write_attempt(run, 1, 0, 3)
    upload(bucket, run)
    first, second = sorted(run.glob("tokens/*.parquet"))[:2]
    bucket.put_object(
        Bucket="logs", Key=f"runs/run/tokens/{first.name}", Body=first.read_bytes()[:-9] + b"x" * 5 + b"PAR1"
    )
    bucket.delete_object(Bucket="logs", Key=f"runs/run/tokens/{second.name}")
    assert main(["ls", "--runs", "s3://logs/runs"]) == 0
    catalog = Catalog(address.follow(address.cache().glob("logs*/runs").__next__())[0])
    assert any(first.name in line for line in catalog.problems) and any(
        second.name in line for line in catalog.problems
    )
    steps = catalog.connection.execute("SELECT DISTINCT step FROM tokens ORDER BY step").fetchall()
    assert steps == [(3,)]


def test_a_copy_is_shown_where_the_network_is_down(bucket, tmp_path, monkeypatch):
    run = tmp_path / "made" / "run"
    write_attempt(run, 1, 0, 3)
    upload(bucket, run)
    copy = address.local("s3://logs/runs")

    def down(self, prefix):
        raise RemoteUnreachable("s3://logs: cannot be reached")

    monkeypatch.setattr(Bucket, "objects", down)
    catalog = Catalog(copy)
    assert catalog.problems == ["s3://logs: cannot be reached; shown is the copy of the last look"]
    assert [r.name for r in catalog.runs] == ["run"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("s3://none-such/runs", "no such bucket"),
        ("s3://logs/none", "nothing there"),
        ("s3://", "no address"),
        ("s3://logs/../x", "no address"),
    ],
)
def test_mistakes_are_one_line(given, words, bucket, capsys):
    for arguments in (["ls", "--runs", given], ["query", "SELECT 1", "--runs", given]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == "" and words in err and err.count("\n") == 1, err


def test_without_credentials_or_network(bucket, tmp_path, monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert main(["ls", "--runs", "s3://logs/runs"]) == 2
        assert "cannot be reached" in (err := capsys.readouterr().err) and err.count("\n") == 1
    with monkeypatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("HOME", str(tmp_path))
        assert main(["ls", "--runs", "s3://logs/runs"]) == 2
        assert "no credentials" in (err := capsys.readouterr().err) and err.count("\n") == 1


def test_a_cache_that_cannot_be_written(bucket, tmp_path, monkeypatch):
    run = tmp_path / "made" / "run"
    write_attempt(run, 1, 0, 1)
    upload(bucket, run)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIMKO_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="SIMKO_CACHE"):
        address.local("s3://logs/runs")
