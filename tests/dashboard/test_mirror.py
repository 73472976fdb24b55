from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import manifests
import pyarrow as pa
import pyarrow.parquet as pq
from simko.dashboard.mirror import LEFT_ON_DISK, Mirror
from simko.store.demo.small_run import demonstration_steps, write_demonstration_run
from simko.store.layout.checksums import file_checksum
from simko.store.layout.manifest import read_manifest
from simko.store.reading.catalog import Catalog
from simko.store.reading.loaded_runs import SMALL
from simko.store.reading.views import VIEWS
from simko.store.writing.recorder import Recorder

OF_TOKEN_ROWS = ("tokens", "token_push", "token_entropy_push", "token_gradient", "mismatch")
DERIVED = [view for view in VIEWS if view not in OF_TOKEN_ROWS]
BASE = [f"all_{table}" for table in ("rollups", "responses", "evals", "costs")] + [*SMALL, "lambda_k"]
"""What the other views are made of, by the same SQL here and in the catalog; `lambda_k` is kept up by itself."""


def rows(con, sql: str) -> list[tuple]:
    return sorted(con.execute(sql).fetchall(), key=repr)


def assert_equal(mirror: Mirror, folder: Path, views=BASE) -> None:
    """Everything the mirror says, texts aside, is what the catalog says of the same files."""
    catalog = Catalog(folder)
    with mirror.snapshot() as con:
        for view in views:
            # Sums of doubles depend on the order of rows in the last digit.
            columns = ", ".join(
                f"round({name}, 9)" if kind == "DOUBLE" else f'"{name}"'
                for name, kind, *_ in catalog.connection.execute(f"DESCRIBE {view}").fetchall()
                if name not in LEFT_ON_DISK
            )
            expected = rows(catalog.connection, f"SELECT {columns} FROM {view}")
            assert rows(con, f"SELECT {columns} FROM {view}") == expected, view
            assert expected or view not in ("rollups", "all_rollups", "lambda_k"), view


def test_mirror_equals_the_catalog(runs):
    mirror = Mirror(runs)
    mirror.refresh()
    assert_equal(mirror, runs, [*BASE, *DERIVED])
    assert mirror.problems == []


def test_a_refresh_takes_in_new_parts_once(tmp_path):
    mirror = Mirror(tmp_path)
    steps = demonstration_steps(tmp_path, name="run", steps=9, responses=8, flush_seconds=0.0)
    for step in steps:
        if step % 3 == 0:
            mirror.refresh()
            version = mirror.version
            mirror.refresh()
            assert mirror.version in (version, version + 1)  # the recorder's thread may have written in between
    mirror.refresh()
    version = mirror.version
    mirror.refresh()
    assert mirror.version == version
    assert_equal(mirror, tmp_path)


def test_every_snapshot_is_a_whole_state_while_a_writer_appends(tmp_path):
    mirror = Mirror(tmp_path)
    writer = threading.Thread(
        target=write_demonstration_run,
        args=(tmp_path,),
        kwargs={"name": "run", "steps": 20, "responses": 8, "flush_seconds": 0.0},
    )
    refresher_stop = threading.Event()

    def refresh() -> None:
        while not refresher_stop.wait(0.01):
            mirror.refresh()

    refresher = threading.Thread(target=refresh)
    writer.start()
    refresher.start()
    seen = set()
    try:
        while writer.is_alive():
            with mirror.snapshot() as con:
                count = "SELECT count(DISTINCT step) FROM all_rollups"
                first = con.execute(count).fetchone()
                # A response is written before the roll-up that counts it, and stays there.
                orphans = con.execute(
                    "SELECT count(*) FROM (SELECT step FROM all_rollups EXCEPT SELECT step FROM all_responses)"
                ).fetchone()
                assert orphans == (0,)
                assert con.execute(count).fetchone() == first
                seen.add(first)
    finally:
        writer.join()
        refresher_stop.set()
        refresher.join()
    mirror.refresh()
    assert len(seen) > 1
    assert_equal(mirror, tmp_path)


def test_a_later_attempt_hides_the_steps_it_trains_again(tmp_path):
    mirror = Mirror(tmp_path)
    write_demonstration_run(tmp_path, name="run", steps=6, responses=8)
    mirror.refresh()
    write_demonstration_run(tmp_path, name="run", steps=8, responses=8, resume=True, start_step=4)
    mirror.refresh()
    assert_equal(mirror, tmp_path)
    attempts = mirror.frame("SELECT step, attempt FROM rollups GROUP BY ALL ORDER BY step")
    assert list(attempts["attempt"]) == [1] * 4 + [2] * 4


def test_a_run_that_goes_or_is_written_anew_is_followed(tmp_path):
    mirror = Mirror(tmp_path)
    write_demonstration_run(tmp_path, name="kept", steps=3, responses=8)
    write_demonstration_run(tmp_path, name="other", steps=5, responses=8, seed=1)
    mirror.refresh()
    shutil.rmtree(tmp_path / "other")
    mirror.refresh()
    assert mirror.names == ["kept"]
    assert_equal(mirror, tmp_path)
    write_demonstration_run(tmp_path, name="other", steps=3, responses=8, seed=2)
    shutil.rmtree(tmp_path / "kept")
    write_demonstration_run(tmp_path, name="kept", steps=4, responses=8, seed=3)
    mirror.refresh()
    assert_equal(mirror, tmp_path)


def test_runs_with_another_k_share_the_tables(tmp_path):
    mirror = Mirror(tmp_path)
    write_demonstration_run(tmp_path, name="narrow", steps=3, responses=8, k=2)
    mirror.refresh()
    write_demonstration_run(tmp_path, name="wide", steps=3, responses=8, k=8)
    mirror.refresh()
    assert_equal(mirror, tmp_path)
    most = mirror.frame("SELECT run, max(k) AS k FROM lambda_k GROUP BY run ORDER BY run")
    assert list(most["k"]) == [2, 8]


def test_tokens_of_one_response_are_those_of_the_view(runs):
    mirror = Mirror(runs)
    mirror.refresh()
    catalog = Catalog(runs)
    sql = "SELECT run, attempt, max(response_id), step FROM responses WHERE step IN (1, 7, 12) GROUP BY ALL"
    some = catalog.connection.execute(sql).fetchall()
    assert len(some) == 6
    for run, attempt, response_id, step in some:
        got = mirror.response_tokens(run, attempt, response_id, step, step)
        expected = catalog.connection.execute(
            "SELECT * FROM tokens WHERE run = ? AND response_id = ? ORDER BY position", [run, response_id]
        ).df()
        assert len(expected) > 0
        assert list(got["position"]) == list(range(len(got)))
        assert got[expected.columns].astype(str).equals(expected.astype(str))


def test_responses_of_a_step_have_their_texts(tmp_path):
    write_demonstration_run(tmp_path, name="run", steps=6, responses=8)
    write_demonstration_run(tmp_path, name="run", steps=8, responses=8, resume=True, start_step=4)
    mirror = Mirror(tmp_path)
    mirror.refresh()
    assert mirror.frame("SELECT count(prompt) + count(completion) AS n FROM responses")["n"][0] == 0
    for step in (4, 5):  # the last of the first attempt, and one that both have trained
        expected = Catalog(tmp_path).connection.execute(
            "SELECT * FROM responses WHERE step = ? ORDER BY group_id, response_id", [step]
        )
        got = mirror.step_responses("run", step)
        assert len(got) == 8 and got["completion"].notna().all()
        assert got.astype(str).equals(expected.df()[got.columns].astype(str))


def test_more_rows_than_a_row_group_are_all_there(tmp_path):
    n = 130_000
    run = write_demonstration_run(tmp_path, name="large", steps=1, responses=8)
    with Recorder(run, k=5, attempt=2, start_step=1) as recorder:
        recorder.put_evals({"step": [1] * n, "split": ["all"] * n, "source": ["exact"] * n, "success": [0.5] * n})
    mirror = Mirror(tmp_path)
    mirror.refresh()
    assert mirror.frame("SELECT sum(success) AS s FROM evals WHERE split = 'all'")["s"][0] == n / 2


def test_no_folder_and_an_empty_one_are_lines_not_errors(tmp_path):
    missing = Mirror(tmp_path / "nowhere")
    missing.refresh()
    assert "no folder" in missing.problems[0]
    assert missing.frame("SELECT * FROM lambda_k").empty
    empty = Mirror(tmp_path)
    empty.refresh()
    assert empty.names == [] and empty.problems == []
    assert empty.response_tokens("run", 1, 0, 1, 1).empty


def test_a_damaged_part_costs_itself_alone(tmp_path):
    names = ["cut", "foreign columns", "garbage", "gone", "whole"]
    write_demonstration_run(tmp_path, name="whole", steps=6, responses=8, flush_seconds=0.0)
    hurt = {}
    for damage in names[:-1]:
        shutil.copytree(tmp_path / "whole", tmp_path / damage)
        part = [part for part in read_manifest(tmp_path / damage).parts if part.table == "rollups"][1]
        hurt[damage] = part
        if damage == "cut":
            part.path.write_bytes(part.path.read_bytes()[:-40])
        elif damage == "garbage":
            part.path.write_bytes(b"\xff" * (part.bytes - 4) + b"PAR1")
        elif damage == "gone":
            part.path.unlink()
        else:
            pq.write_table(pa.table({"step": ["not a number"], "n_tokens": ["nor this"]}), part.path)
            manifest = next((tmp_path / damage / "manifest").glob("*.jsonl"))
            there = {"bytes": part.path.stat().st_size, "checksum": file_checksum(part.path)}
            ours = f"rollups/{part.path.name}"
            manifests.rewrite(
                manifest, lambda line, there=there, ours=ours: line | (there if line.get("path") == ours else {})
            )
    mirror = Mirror(tmp_path)
    for _ in range(2):
        mirror.refresh()
        assert len(mirror.problems) == 4
        assert all(sum(str(part.path) in line for line in mirror.problems) == 1 for part in hurt.values())
        steps = mirror.frame("SELECT run, count(DISTINCT step) AS n FROM rollups GROUP BY run ORDER BY run")
        lost = [part.last_step - part.first_step + 1 for _, part in sorted(hurt.items())]
        assert list(steps["run"]) == names
        assert list(steps["n"]) == [6 - n for n in [*lost, 0]]


def test_a_run_of_a_newer_schema_is_named_and_the_others_stay(tmp_path):
    write_demonstration_run(tmp_path, name="newer", steps=2, responses=8)
    write_demonstration_run(tmp_path, name="usual", steps=2, responses=8)
    info = json.loads((tmp_path / "newer" / "run.json").read_text())
    (tmp_path / "newer" / "run.json").write_text(json.dumps({**info, "schema_version": 99}))
    mirror = Mirror(tmp_path)
    mirror.refresh()
    assert mirror.names == ["usual"]
    assert "99" in mirror.problems[0]
