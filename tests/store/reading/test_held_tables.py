"""The figures of `simko ls`, read in one pass, are those of the query `overview` over the catalog's own relations."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import manifests
import pytest
from simko.store import Recorder
from simko.store.demo.small_run import write_demonstration_run
from simko.store.reading import held_tables
from simko.store.reading.catalog import Catalog
from simko.store.reading.held_tables import overview
from simko.store.reading.named_queries import named_query


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two and five ranks, evaluated and not, resumed, two processes of which one is missing, before checksums."""
    folder = tmp_path_factory.mktemp("many")
    for name, options in {
        "narrow": {"k": 2},
        "wide": {"k": 5, "evaluate_every": 2},
        "resumed": {"method": "grpo"},
        "old": {"k": 4},
    }.items():
        write_demonstration_run(folder, name=name, steps=4, responses=8, **options)
    write_demonstration_run(folder, name="resumed", steps=5, responses=8, resume=True, start_step=2)
    # Without evaluations pass@k is that of the rollouts: an attempt that begins after step 0 writes them at its end.
    write_demonstration_run(folder, name="alone", steps=3, responses=16, world_size=2)
    shutil.rmtree(folder / "alone" / "evals")
    manifests.as_before_checksums(folder / "old")
    bare = write_demonstration_run(folder, name="unevaluated", steps=1, responses=8)
    kept = [entry for entry in manifests.entries(bare / "manifest" / "001-000.jsonl") if entry.get("table") != "evals"]
    shutil.rmtree(bare / "evals")
    manifests.write(bare / "manifest" / "001-000.jsonl", kept)
    with Recorder(bare, k=5, attempt=2, start_step=1) as recorder:
        recorder.put_evals({"step": [1], "split": ["odd"], "source": ["sampled"], "n": [0], "c": [0]})
    return folder


def expected(folder: Path) -> list[dict]:
    result = Catalog(folder).connection.execute(named_query("overview").sql)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def assert_same(found: list[dict], wanted: list[dict]) -> None:
    assert [row["run"] for row in found] == [row["run"] for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        for name in one.keys() | other.keys():
            a, b = one[name], other[name]
            assert a == b or math.isclose(a, b, rel_tol=1e-12), (one["run"], name, a, b)


def test_every_figure_is_the_catalogs(runs, monkeypatch):
    wanted = expected(runs)
    # The catalog would give the same figures: it must not have been asked for more than the run before checksums.
    opened = []
    plain = held_tables.Catalog.open_files

    def spy(self, tables=(), runs=None):
        opened.extend((table, tuple(run.name for run in runs or ())) for table in tables)
        plain(self, tables, runs)

    monkeypatch.setattr(held_tables.Catalog, "open_files", spy)
    catalog, found = overview(runs)
    assert {names for _, names in opened} == {("old",)}
    assert_same(found, wanted)
    by_run = {row["run"]: row for row in found}
    assert by_run["unevaluated"]["source"] == "rollouts" and by_run["unevaluated"]["pass_1"] is not None
    assert by_run["wide"]["source"] == "exact" and by_run["narrow"]["lambda_3"] is None
    assert catalog.problems == Catalog(runs).problems


def test_runs_of_one_name_are_apart(runs, tmp_path):
    write_demonstration_run(tmp_path, name="wide", steps=2, responses=8, seed=3)
    _, found = overview([runs, tmp_path])
    both = [row for row in found if row["run"].endswith("wide")]
    assert len(both) == 2 and both[0]["lambda_1"] != both[1]["lambda_1"]
    assert_same(found, _both(runs, tmp_path))


def _both(*folders: Path) -> list[dict]:
    result = Catalog(list(folders)).connection.execute(named_query("overview").sql)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def test_a_damaged_file_is_named_and_left_out(tmp_path):
    run = write_demonstration_run(tmp_path, name="old", steps=3, responses=8)
    manifests.as_before_checksums(run)
    (path,) = (run / "rollups").glob("*.parquet")
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)  # what its end says is no longer there
    path.write_bytes(content)
    catalog, (row,) = overview(tmp_path)
    assert row["lambda_1"] is None and any(path.name in problem for problem in catalog.problems)


def test_no_runs_are_no_rows(tmp_path):
    catalog, rows = overview(tmp_path)
    assert rows == [] and catalog.problems == []
