"""One run that is no run, whatever it is instead, never hides or delays the others: it is named and left out."""

from __future__ import annotations

import json
import os
import shutil

import manifests
import pytest
import simko.store
from simko.cli.simko import main
from simko.dashboard.mirror import Mirror
from simko.store import Catalog
from simko.store.demo.small_run import write_demonstration_run
from simko.store.errors import RunNameInvalid, StudyNotFound
from simko.store.layout.manifest_file import LARGEST_MANIFEST
from simko.store.layout.run import LARGEST_RUN_FILE, check_name
from simko.store.reading.loaded_runs import load_runs
from simko.store.reading.sandbox import LockedRuns
from simko.store.study import open_study


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    write_demonstration_run(folder, name="good", method="grpo", steps=2, responses=8, seed=0)
    return folder / "good"


def fifo(path):
    os.mkfifo(path)


def folder(path):
    path.mkdir()


def device(path):
    path.symlink_to("/dev/zero")


def deep(path):
    path.write_text('{"schema_version": 3, "config": ' + "[" * 200_000 + "]" * 200_000 + "}")


def large(path):
    with path.open("wb") as file:
        file.truncate(LARGEST_RUN_FILE + 1)


def binary(path):
    path.write_bytes(b"\xff\xfe{}\x00\n")


def text(path):
    path.write_text("[]")


def infinite(path):
    path.write_text('{"schema_version": 1e999}')


def test_run_jsons_that_are_none(good, tmp_path, capsys):
    shutil.copytree(good, tmp_path / "runs" / "good")
    for made in (fifo, folder, device, deep, large, binary, text, infinite):
        (tmp_path / "runs" / f"odd-{made.__name__}").mkdir()
        made(tmp_path / "runs" / f"odd-{made.__name__}" / "run.json")
    odd = {path.name for path in (tmp_path / "runs").glob("odd-*")}
    for command, code in (("ls", 0), ("doctor", 1)):
        assert main([command, "--runs", str(tmp_path / "runs")]) == code
        captured = capsys.readouterr()
        assert "good" in captured.out and "Traceback" not in captured.err
        assert len(odd) == 8 and {name for name in odd if name in captured.out + captured.err} == odd
    with simko.store.open(tmp_path / "runs") as connection:
        assert connection.execute("SELECT run FROM runs").fetchall() == [("good",)]


def endless(path):
    with path.open("wb") as file:
        file.truncate(LARGEST_MANIFEST + 1)


@pytest.mark.parametrize("made", [fifo, folder, device, binary, endless])
@pytest.mark.parametrize("name", ["000001-000.jsonl", "merges.jsonl"])
def test_a_manifest_that_is_none(made, name, good, tmp_path):
    run = tmp_path / "runs" / "good"
    shutil.copytree(good, run)
    manifest = next((run / "manifest").glob("[0-9]*.jsonl"))
    path = run / "manifest" / ("merges.jsonl" if name == "merges.jsonl" else manifest.name)
    path.unlink(missing_ok=True)
    made(path)
    runs, problems = load_runs(tmp_path / "runs")
    assert [r.name for r in runs] == ["good"]
    assert (name == "merges.jsonl" and made is binary) or any(path.name in problem for problem in problems)


def test_a_part_that_is_a_pipe_is_named(good, tmp_path):
    run = tmp_path / "runs" / "good"
    shutil.copytree(good, run)
    part = next((run / "tokens").glob("*.parquet"))
    part.unlink()
    os.mkfifo(part)
    _, problems = load_runs(tmp_path / "runs")
    assert any(part.name in problem and "not a regular file" in problem for problem in problems)


def test_a_vocabulary_that_is_a_pipe_is_named_and_never_waited_for(good, tmp_path):
    run = tmp_path / "runs" / "good"
    shutil.copytree(good, run)
    (run / "vocabulary.parquet").unlink(missing_ok=True)
    os.mkfifo(run / "vocabulary.parquet")
    assert main(["doctor", "--deep", "--runs", str(tmp_path / "runs")]) == 1
    catalog = Catalog(tmp_path / "runs")
    assert catalog.problems == [f"{run / 'vocabulary.parquet'}: not a regular file; its tokens have no text"]
    assert LockedRuns(tmp_path / "runs").ask("SELECT count(*) AS n FROM tokens").rows.n[0] > 0
    mirror = Mirror(tmp_path / "runs")
    mirror.refresh()
    assert mirror.frame("SELECT count(*) AS n FROM rollups").n[0] > 0


@pytest.mark.parametrize(
    ("entries", "served"),
    [
        ({"method": "half a character: \ud800"}, True),
        ({"schema_version": -(10**20)}, False),
        ({"probe": ["k"], "smoothing": 3, "hyperparameters": None}, True),
    ],
)
def test_odd_entries_of_a_run_json(entries, served, good, tmp_path):
    shutil.copytree(good, tmp_path / "good")
    shutil.copytree(good, tmp_path / "odd")
    content = json.loads((tmp_path / "odd" / "run.json").read_text())
    (tmp_path / "odd" / "run.json").write_text(json.dumps(content | entries))
    assert main(["doctor", "--deep", "--runs", str(tmp_path)]) == 1
    runs, (problem,) = load_runs(tmp_path)
    assert [run.name for run in runs] == (["good", "odd"] if served else ["good"])
    assert str(tmp_path / "odd") in problem and ("changed since it was written" in problem) == served


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"start_step": 10**20}, True),
        ({"world_size": -1}, True),
        ({"started": "\ud800", "host": "\ud800"}, False),
    ],
)
def test_odd_entries_of_a_manifest(entry, named, good, tmp_path):
    shutil.copytree(good, tmp_path / "good")
    shutil.copytree(good, tmp_path / "odd")
    manifest = next((tmp_path / "odd" / "manifest").glob("[0-9]*.jsonl"))
    first, *others = manifests.entries(manifest)
    manifests.write(manifest, [first | entry, *others])
    catalog = Catalog(tmp_path)
    assert catalog.connection.execute("SELECT run FROM runs ORDER BY run").fetchall() == [("good",), ("odd",)]
    assert any(str(manifest) in problem for problem in catalog.problems) == named


def test_a_folder_whose_name_is_no_text_is_left_out(good, tmp_path):
    shutil.copytree(good, tmp_path / "good")
    shutil.copytree(good, os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    runs, problems = load_runs(tmp_path)
    assert [run.name for run in runs] == ["good"]
    assert problems == [f"{tmp_path / 'odd?'}: no path in UTF-8, so the run is left out; rename the folder"]
    assert main(["ls", "--runs", str(tmp_path)]) == 0


@pytest.mark.parametrize("made", [fifo, folder, device, binary, text])
def test_a_study_json_that_is_none(made, tmp_path):
    made(tmp_path / "study.json")
    with pytest.raises(StudyNotFound, match=r"study\.json"):
        open_study(tmp_path)


def test_a_stray_run_json_hides_no_run(good, tmp_path):
    shutil.copytree(good, tmp_path / "good")
    (tmp_path / "run.json").write_text("{}")
    runs, problems = load_runs(tmp_path)
    assert [run.name for run in runs] == ["good"]
    assert len(problems) == 1 and str(tmp_path / "run.json") in problems[0]


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "/", ".x", "-x", "a\nb", "x" * 201])
def test_invalid_run_names(name):
    with pytest.raises(RunNameInvalid, match="invalid run name"):
        check_name(name)
