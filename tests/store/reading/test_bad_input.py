"""Damaged, foreign, newer and empty runs: named in a line, and the rest is served."""

from __future__ import annotations

import json
import shutil

import manifests
import numpy as np
import pytest
import simko.store
from batches import random_batch
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.store import Catalog, Recorder
from simko.store.errors import RunNotFound
from simko.store.layout.liveness import sign_of_life
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume, write_vocabulary
from simko.store.reading.views import VIEWS


@pytest.fixture
def runs(tmp_path):
    """Two runs of three steps, a file a step."""
    for name in ("good", "bad"):
        run = tmp_path / name
        create_or_resume(run, {"run": name, "probe": {"k": 4}}, resume=False)
        with Recorder(run, k=4, attempt=1, flush_seconds=0) as recorder:
            for step in (1, 2, 3):
                recorder.put(random_batch(step, np.random.default_rng(step)))
                recorder.end_step(step)
                recorder.flush()
    return tmp_path


def steps(catalog, run="bad"):
    query = "SELECT DISTINCT step FROM tokens WHERE run = ? ORDER BY step"
    return [row[0] for row in catalog.connection.execute(query, [run]).fetchall()]


def part_of(run, table, step):
    return next(p.path for p in read_manifest(run).parts if p.table == table and p.first_step == step)


@pytest.mark.parametrize("damage", ["torn", "missing", "emptied", "end overwritten"])
def test_a_damaged_part_is_named_and_the_rest_served(runs, damage):
    path = part_of(runs / "bad", "tokens", 2)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"torn": content[:-9], "emptied": b"", "end overwritten": content[:-4] + b"XXXX"}[damage])
    catalog = Catalog(runs)
    assert len(catalog.problems) == 1
    assert str(path) in catalog.problems[0]
    assert steps(catalog) == [1, 3]
    assert steps(catalog, "good") == [1, 2, 3]


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("table", ["tokens", "rollups"])
def test_a_part_with_a_garbled_footer_is_named_and_the_rest_served(runs, table, checksums):
    if not checksums:
        manifests.as_before_checksums(runs / "bad")
    path = part_of(runs / "bad", table, 2)
    content = path.read_bytes()
    path.write_bytes(content[:-300] + b"\xff" * 288 + content[-12:])  # its size and last bytes are as they should be
    catalog = Catalog(runs)
    assert len(catalog.problems) == 1
    assert catalog.problems[0].startswith(f"{path}: {'altered' if checksums else 'cannot be read'}")
    query = f"SELECT DISTINCT step FROM {table} WHERE run = ? ORDER BY step"
    assert catalog.connection.execute(query, ["bad"]).fetchall() == [(1,), (3,)]
    assert catalog.connection.execute(query, ["good"]).fetchall() == [(1,), (2,), (3,)]


def test_a_damaged_vocabulary_costs_its_run_the_texts_alone(runs):
    for name in ("good", "bad"):
        write_vocabulary(runs / name, ["a", "b", "c"] * 20)
    (runs / "bad" / "vocabulary.parquet").write_bytes(b"PAR1 nothing PAR1")
    catalog = Catalog(runs)
    assert [str(runs / "bad" / "vocabulary.parquet") in line for line in catalog.problems] == [True]
    texts = catalog.connection.sql("SELECT run, count(*) > 0, count(text) > 0 FROM tokens GROUP BY run ORDER BY run")
    assert texts.fetchall() == [("bad", True, False), ("good", True, True)]


@pytest.mark.parametrize(
    "probe", [[1], "x", {"k": "five"}, {"k": 10**9}, {"k": 10**30}, {"k": 4, "temperature": "hot"}]
)
def test_a_probe_entry_that_makes_no_sense_is_survived(runs, probe):
    path = runs / "bad" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"probe": probe}))
    catalog = Catalog(runs)
    assert catalog.connection.sql("SELECT run, last_step FROM runs ORDER BY run").fetchall() == [
        ("bad", 3),
        ("good", 3),
    ]


def test_files_that_no_manifest_names_are_not_read(runs):
    tokens = runs / "bad" / "tokens"
    shutil.copy(part_of(runs / "bad", "tokens", 1), tokens / "copied.parquet")
    (tokens / ".part-x.parquet.tmp").write_bytes(b"half")
    (tokens / "notes.txt").write_text("hello")
    catalog = Catalog(runs)
    assert catalog.problems == [f"{tokens / 'copied.parquet'}: named in no manifest and left out"]
    rows = catalog.connection.sql("SELECT run, count(*) FROM tokens GROUP BY run").fetchall()
    assert len(set(dict(rows).values())) == 1


def test_damaged_and_torn_manifest_lines_are_named(runs):
    path = next((runs / "bad" / "manifest").glob("*.jsonl"))
    lines = path.read_text().splitlines(keepends=True)
    torn = '{"kind": "file", "tab'
    path.write_text("".join([*lines[:3], "{not json}\n", *lines[3:-1]]) + torn)
    sign_of_life(path).touch()
    catalog = Catalog(runs)  # the writer lives: the last line may be a write under way
    assert catalog.problems == [f"{path}: line 4 is damaged and left out"]
    first, *others = [json.loads(line) for line in lines[:-1]]
    manifests.write(path, [first | {"pid": 99999999}, *others])
    path.write_text(path.read_text() + torn)
    assert Catalog(runs).problems[-1] == f"{path}: the last line is torn and left out"
    assert steps(catalog) == [1, 2, 3]


def test_a_manifest_cannot_point_outside_its_run(runs):
    path = next((runs / "bad" / "manifest").glob("*.jsonl"))
    outside = {
        "kind": "file",
        "table": "tokens",
        "path": "../good/tokens/x.parquet",
        "steps": [1, 1],
        "rows": 1,
        "bytes": 9,
    }
    manifests.write(path, [*manifests.entries(path), outside])
    assert "left out" in Catalog(runs).problems[0]


def test_a_newer_schema_is_left_out_by_name(runs):
    path = runs / "bad" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    catalog = Catalog(runs)
    assert [run.name for run in catalog.runs] == ["good"]
    assert "version 99" in catalog.problems[0]
    assert "update simko" in catalog.problems[0]
    assert steps(catalog, "good") == [1, 2, 3]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": "x"}', "\x00\x01"])
def test_a_damaged_run_file_is_named(runs, content):
    (runs / "bad" / "run.json").write_text(content)
    catalog = Catalog(runs)
    assert [run.name for run in catalog.runs] == ["good"]
    assert "run.json is damaged" in catalog.problems[0]


def test_an_empty_folder_gives_empty_views(tmp_path):
    with simko.store.open(tmp_path) as connection:
        for view in VIEWS:
            assert connection.execute(f"SELECT * FROM {view}").fetchall() == []
        assert connection.sql("SELECT step, lambda_k FROM lambda_k WHERE k = 1 AND verdict = 'all'").fetchall() == []


def test_a_run_before_its_first_step_is_there(tmp_path):
    create_or_resume(tmp_path / "new", {"method": "grpo"}, resume=False)
    with simko.store.open(tmp_path) as connection:
        assert connection.sql("SELECT run, method, status, last_step FROM runs").fetchall() == [
            ("new", "grpo", "empty", None)
        ]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RunNotFound, match="no folder"):
        Catalog(tmp_path / "nothing")


def test_names_with_quotes_are_only_names(tmp_path):
    run = tmp_path / "it's; DROP VIEW runs --"
    create_or_resume(run, {"method": "'"}, resume=False)
    with Recorder(run, k=4, attempt=1) as recorder:
        recorder.put(random_batch(1, np.random.default_rng(0)))
        recorder.end_step(1)
    with simko.store.open(tmp_path) as connection:
        assert connection.sql("SELECT run, last_step FROM runs").fetchall() == [(run.name, 1)]


@settings(max_examples=effort(60, 10), deadline=None)
@given(data=st.data())
def test_manifest_bytes_never_break_a_reader(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("fuzz") / "run"
    create_or_resume(run, {"probe": {"k": 4}}, resume=False)
    good = '{"kind": "attempt", "attempt": 1, "rank": 0, "world_size": 1, "start_step": 0}\n'
    lines = st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
    content = b"\n".join(
        [data.draw(st.sampled_from([good.encode(), b""])), *data.draw(st.lists(lines, max_size=5)), b""]
    )
    (run / "manifest" / "001-000.jsonl").write_bytes(content)
    Catalog(run).connection.sql("SELECT * FROM lambda_k").fetchall()


KEYS = ("kind", "attempt", "rank", "table", "path", "steps", "rows", "bytes", "dropped", "status", "world_size")


@pytest.mark.parametrize("name", ["tokens/" + "x" * 300, "tokens/\0", "tokens", "rollups/../tokens"])
def test_names_that_no_file_can_have_are_told(runs, name):
    manifest = runs / "bad" / "manifest" / "001-000.jsonl"
    entry = {"kind": "file", "table": "tokens", "path": name, "steps": [1, 1], "rows": 1, "bytes": 1}
    manifests.write(manifest, [*manifests.entries(manifest), entry])
    problems = Catalog(runs).problems
    assert len(problems) == 1 and "left out" in problems[0]
