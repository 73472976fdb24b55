"""Merging parts changes no answer, whatever happens meanwhile; what it leaves behind is collected later and alone."""

from __future__ import annotations

import os
import shutil

import manifests
import numpy as np
import pyarrow.parquet as pq
import pytest
import simko.store.maintenance.compaction as compaction
from batches import random_batch
from effort import some
from simko.cli.simko import main
from simko.store import Catalog, Recorder
from simko.store.errors import RunBusy, RunNotFound, RunUnwritable
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.garbage import collect, garbage
from simko.store.reading.views import VIEWS


def write_attempt(run, attempt, start, steps, **options):
    with Recorder(run, attempt=attempt, start_step=start, flush_seconds=0, **{"k": 4, **options}) as recorder:
        rng = np.random.default_rng([attempt, recorder.rank])
        for step in range(start + 1, start + steps + 1):
            recorder.put(random_batch(step, rng, first=100 * recorder.rank, k=recorder.k))
            recorder.end_step(step)
            recorder.put_evals(
                {"step": [step], "prompt_id": ["p"], "split": ["heldout"], "source": ["exact"], "success": [0.5]}
            )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two attempts of two processes, the second from an older step and with another K, a file a step."""
    folder = tmp_path_factory.mktemp("written") / "run"
    create_or_resume(folder, {"run": "run", "probe": {"k": 4}}, resume=False)
    for rank in (0, 1):
        write_attempt(folder, 1, 0, 6, rank=rank, world_size=2)
    for rank in (0, 1):
        write_attempt(folder, 2, 4, 5, rank=rank, world_size=2, k=3)
    return folder


@pytest.fixture(scope="module")
def before(written):
    """What the views say before anything is merged."""
    return answers(written)


@pytest.fixture
def run(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def answers(folder):
    """Every view's rows, in a stated order, and every attempt's; but for where the run lies."""
    catalog = Catalog(folder)
    assert catalog.problems == []
    catalog.connection.execute("SET threads = 1")  # sums are then added up in the order of the rows
    result = {}
    for view in (*VIEWS, "all_tokens", "all_rollups", "all_evals", "all_costs"):
        if view != "run_costs":  # which tells the files themselves
            columns = [row[0] for row in catalog.connection.execute(f"DESCRIBE {view}").fetchall()]
            columns = ", ".join(f'"{column}"' for column in columns if (view, column) != ("runs", "path"))
            rows = f"SELECT {columns} FROM {view} ORDER BY {columns}"
            result[view] = catalog.connection.execute(rows).to_arrow_table()
    return result


def assert_same(a, b):
    assert a.keys() == b.keys()
    for view in a:
        assert a[view].equals(b[view]), view


def test_answers_are_the_same_and_files_are_few(run, before):
    parts = read_manifest(run).parts
    done = compact(run)
    after = read_manifest(run).parts
    assert_same(answers(run), before)
    assert (len(after), done.made) == (16, 12)  # four tables of four writers; their costs were one file already
    assert sum(part.rows for part in after) == sum(part.rows for part in parts)
    assert {(p.table, p.attempt, p.rank) for p in after} == {(p.table, p.attempt, p.rank) for p in parts}
    assert read_manifest(run).replaced == {part.path for part in parts if part.table != "costs"}
    again = compact(run)
    assert (again.made, again.replaced) == (0, 0)


def test_a_run_that_goes_on_is_merged_again(run):
    compact(run)
    write_attempt(run, 3, 9, 4)
    before = answers(run)
    assert compact(run).made == 3  # its tokens, roll-ups and evaluations; its costs are one file
    assert_same(answers(run), before)


def test_a_merged_file_is_merged_with_what_came_later(tmp_path):
    folder = tmp_path / "run"
    create_or_resume(folder, {"run": "run", "probe": {"k": 4}}, resume=False)
    rng = np.random.default_rng(0)
    with Recorder(folder, k=4, attempt=1, flush_seconds=0) as recorder:
        for step in range(1, 13):
            recorder.put(random_batch(step, rng))
            recorder.end_step(step)
            recorder.flush()
            if step % 4 == 0:  # the writer lives
                before = answers(folder)
                assert compact(folder).made
                assert_same(answers(folder), before)
                collect(folder, grace=0)
                assert_same(answers(folder), before)
    tokens = [part for part in read_manifest(folder).parts if part.table == "tokens"]
    assert [(part.first_step, part.last_step) for part in tokens] == [(1, 12)]


def test_row_groups_are_large_and_the_order_of_rows_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "FILE_ROWS", 3000)
    monkeypatch.setattr(compaction, "ROW_GROUP", 1000)
    monkeypatch.setattr(compaction, "_BATCH", 64)
    folder = tmp_path / "run"
    create_or_resume(folder, {"run": "run"}, resume=False)
    rng = np.random.default_rng(0)
    with Recorder(folder, k=4, attempt=1, flush_seconds=0) as recorder:
        for step in range(1, 201):
            recorder.put(random_batch(step, rng, width=20))
            recorder.end_step(step)
            recorder.flush()
    parts = [part.path for part in read_manifest(folder).parts if part.table == "tokens"]
    rows = [pq.read_table(path) for path in parts]
    compact(folder)
    merged = [part for part in read_manifest(folder).parts if part.table == "tokens"]
    together = [pq.read_table(part.path) for part in merged]
    assert all(2000 < part.rows <= 3000 for part in merged[:-1])
    import pyarrow as pa

    assert pa.concat_tables(together).equals(pa.concat_tables(rows))
    for part in merged[:-1]:
        metadata = pq.read_metadata(part.path)
        assert all(metadata.row_group(i).num_rows >= 1000 for i in range(metadata.num_row_groups - 1))


def test_what_was_merged_stays_for_its_grace_then_goes(run, before):
    early = Catalog(run)  # looked before
    compact(run)
    assert garbage(run) == [] and collect(run) == []
    assert early.connection.execute("SELECT count(*) FROM tokens").fetchall()  # still finds what it saw
    gone = collect(run, grace=0)
    assert {item.reason for item in gone} == {"merged into a larger file"}
    assert_same(answers(run), before)
    assert set(run.rglob("*.parquet")) == {part.path for part in read_manifest(run).parts}


def test_a_clock_set_back_removes_nothing(run):
    compact(run)
    merges = run / "manifest" / "merges.jsonl"
    manifests.rewrite(merges, lambda entry: entry | {"merged": "2999-01-01T00:00:00+00:00"})
    assert garbage(run, grace=1) == []


@pytest.mark.parametrize("moment", some(["write", "replace", "sync", "append"], 2))
def test_a_fault_at_any_moment_leaves_the_run_as_it_was(run, before, moment, monkeypatch):
    def fail(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        place = {
            "write": "maintenance.compaction._write",
            "replace": "writing.parquet.os.replace",
            "sync": "writing.parquet._sync",
            "append": "maintenance.merge_list.MergeList.append",
        }[moment]
        patch.setattr(f"simko.store.{place}", fail)
        with pytest.raises(RunUnwritable, match="No space left"):
            compact(run)
    strays = {path for path in run.rglob("*") if path.is_file() and ("merged" in path.name)}
    assert not strays and Catalog(run).problems == []
    assert_same(answers(run), before)
    compact(run)
    assert_same(answers(run), before)


@pytest.mark.parametrize("damage", ["torn", "missing"])
def test_a_merged_file_that_is_lost_is_made_up_for_by_its_parts(run, before, damage):
    compact(run)
    victim = next(part.path for part in read_manifest(run).parts if part.table == "tokens")
    victim.unlink() if damage == "missing" else victim.write_bytes(victim.read_bytes()[:-7])
    catalog = Catalog(run)
    assert len(catalog.problems) == 1 and "the parts it was made of are read instead" in catalog.problems[0]
    count = "SELECT count(*), sum(position) FROM all_tokens"
    assert catalog.connection.execute(count).fetchall() == [
        (before["all_tokens"].num_rows, sum(before["all_tokens"].column("position").to_pylist()))
    ]


def test_half_a_line_and_foreign_lines_are_left_out(run, before):
    merges = run / "manifest" / "merges.jsonl"
    compact(run)
    content = merges.read_bytes()
    merges.write_bytes(content[:-20])
    assert_same({"tokens": answers_of(run, "tokens")}, {"tokens": before["tokens"]})
    with merges.open("ab") as file:
        file.write(b'\n{"kind": "merge", "path": "../../x"}\n[]\nnull\n')
    problems = Catalog(run).problems
    assert sum("is damaged and left out" in line for line in problems) == 4
    assert compact(run).made >= 1
    assert_same({"tokens": answers_of(run, "tokens")}, {"tokens": before["tokens"]})


def test_a_merge_that_cannot_be_true_is_named_and_counts_nothing_twice(run, before):
    """The line is as a compactor would have written it: its checksum fits."""
    compact(run)
    merges = run / "manifest" / "merges.jsonl"
    written = manifests.entries(merges)
    for change, told in (
        (lambda e: {"replaces": ["tokens/part-009-000-000001.parquet"]}, "it replaces files that no manifest names"),
        (lambda e: {"replaces": e["replaces"][1:]}, "rows made of"),
        (lambda e: {"rows": e["rows"] + 1}, "rows made of"),
    ):
        manifests.write(merges, [e | (change(e) if e["table"] == "tokens" else {}) for e in written])
        assert any(told in problem and "are read instead" in problem for problem in Catalog(run).problems)
        assert_same({"all_tokens": answers_of(run, "all_tokens")}, {"all_tokens": before["all_tokens"]})


def answers_of(run, view):
    connection = Catalog(run).connection
    columns = [row[0] for row in connection.execute(f"DESCRIBE {view}").fetchall()]
    order = ", ".join(f'"{column}"' for column in columns)
    return connection.execute(f"SELECT * FROM {view} ORDER BY {order}").to_arrow_table()


def test_one_flipped_bit_is_refused_by_name(run, before, capsys):
    """Once it is merged, nobody can tell any more that the figure is not what was written."""
    victim = next(part for part in read_manifest(run).parts if part.table == "tokens")
    content = bytearray(victim.path.read_bytes())
    content[len(content) // 3] ^= 16
    victim.path.write_bytes(bytes(content))
    assert main(["compact", str(run)]) == 1
    assert f"{victim.path}: altered since it was written (checksum); not merged" in capsys.readouterr().out
    catalog = Catalog(run)
    assert any("altered" in problem for problem in catalog.problems)
    ((rows,),) = catalog.connection.execute("SELECT count(*) FROM all_tokens").fetchall()
    assert rows == before["all_tokens"].num_rows - victim.rows


def test_two_compactors_at_once_are_one(run):
    with compaction.locked(run), pytest.raises(RunBusy, match="being compacted"):
        compact(run)


def test_a_part_that_cannot_be_read_is_left_alone_with_its_neighbours(run):
    victim = next(part for part in read_manifest(run).parts if part.table == "tokens")
    content = bytearray(victim.path.read_bytes())
    content[len(content) // 2 - 40 : len(content) // 2 + 40] = bytes(80)
    victim.path.write_bytes(bytes(content))
    done = compact(run)
    assert done.left and str(victim.path) in done.left[0]
    assert victim.path in {part.path for part in read_manifest(run).parts}


def test_garbage_is_what_nobody_names(run):
    stray, half = run / "tokens" / "part-001-000-999999.parquet", run / "tokens" / ".part-x.parquet.tmp"
    shutil.copy(next((run / "tokens").glob("part-*.parquet")), stray)
    half.write_bytes(b"PAR1")
    assert garbage(run) == []  # it may be all there is of rows whose line was lost
    os.utime(stray, (0, 0))
    assert {item.path for item in garbage(run)} == {stray}
    os.utime(half, (0, 0))
    assert {item.path for item in garbage(run)} == {stray, half}
    keep = {path for path in run.rglob("*") if path.is_file()} - {stray, half}
    collect(run)
    assert {path for path in run.rglob("*") if path.is_file()} - {run / "manifest" / ".lock-compaction"} == keep


def test_the_parts_of_a_merged_file_that_was_altered_are_kept(run, before):
    compact(run)
    victim = next(part.path for part in read_manifest(run).parts if part.table == "tokens")
    content = bytearray(victim.read_bytes())
    content[len(content) // 3] ^= 16
    victim.write_bytes(bytes(content))
    assert collect(run, grace=0)
    count = "SELECT count(*), sum(position) FROM all_tokens"
    assert Catalog(run).connection.execute(count).fetchall() == [
        (before["all_tokens"].num_rows, sum(before["all_tokens"].column("position").to_pylist()))
    ]


def test_what_may_be_the_last_copy_of_rows_is_kept(run):
    """The merges were collected, then the list of merges lost: the merged files are named nowhere, and all there is."""
    compact(run)
    collect(run, grace=0)
    (run / "manifest" / "merges.jsonl").unlink()
    merged = list(run.rglob("merged-*.parquet"))
    for path in merged:
        os.utime(path, (0, 0))
    assert any("merged-" in problem for problem in Catalog(run).problems)
    assert garbage(run) == [] and merged


def test_while_a_process_writes_only_merged_parts_are_garbage(tmp_path):
    folder = tmp_path / "run"
    create_or_resume(folder, {"run": "run"}, resume=False)
    with Recorder(folder, k=4, attempt=1, flush_seconds=0) as recorder:
        recorder.put(random_batch(1, np.random.default_rng(0)))
        recorder.end_step(1)
        recorder.flush()
        stray = folder / "tokens" / "part-001-000-000099.parquet"
        stray.write_bytes(b"being finished")
        os.utime(stray, (0, 0))
        assert garbage(folder, grace=0) == []
    assert len(garbage(folder, grace=0)) == 1


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(RunNotFound):
        compact(tmp_path)
    with pytest.raises(RunNotFound):
        garbage(tmp_path)
