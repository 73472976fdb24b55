"""The files that count, and the spans of their rows: what is read by them is what the views say."""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings

import duckdb
import polars as pl
import pytest
import simko.store
from evaluations import write_evaluation
from readers_docs import PAGE, assert_same, expected, results
from resumed_run import STATES, write_attempt, write_resumed
from simko.cli.simko import main
from simko.store import Catalog, LiveFile, files
from simko.store.layout.manifest import read_manifest
from simko.store.layout.schema import TABLES, arrow_schema
from simko.store.reading.live_files import live_files, select


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    run = tmp_path_factory.mktemp("written") / "run"
    write_resumed(run)
    return run


@pytest.fixture
def run(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


@pytest.fixture(scope="module", params=STATES)
def state(request, written, tmp_path_factory):
    """Read only: the tests share it."""
    run = shutil.copytree(written, tmp_path_factory.mktemp("state") / "run")
    STATES[request.param](run)
    return run


def test_what_is_read_by_the_files_is_what_the_views_say(state):
    """By the SELECT, which any DuckDB takes, and by nothing but files and spans."""
    catalog = Catalog(state)
    assert catalog.problems == []
    for table in ("tokens", "responses", "rollups", "evals", "costs"):
        result = files(state, table)
        columns = ", ".join(arrow_schema(table, 4).names)
        rows = catalog.connection.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()
        ask = duckdb.connect().execute
        assert ask(f"SELECT {columns} FROM ({select(result)}) ORDER BY ALL").fetchall() == rows and rows, table
        if table != "evals":
            frames = [
                pl.read_parquet(file.path).filter(
                    (pl.col("attempt") == file.attempt) & pl.col("step").is_between(file.first_step, file.last_step)
                )
                for file in result
            ]
            frame = pl.concat(frames, how="diagonal")
            assert frame.height == len(rows)
            assert ask(f"SELECT {columns} FROM frame ORDER BY ALL").fetchall() == rows, table


@pytest.mark.parametrize("engine", ["Polars", "DuckDB"])
def test_the_snippets_give_lambda_as_the_view_does(engine, state, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = results(engine, state, tmp_path, capsys)
    frame = names["lambda_1"]
    assert_same(frame.rows() if engine == "Polars" else frame.fetchall(), state)
    rows = names["rows"]
    assert (rows.collect().height if engine == "Polars" else len(rows)) == expected(state)[1]


def test_a_glob_is_wrong_after_a_resume(run):
    """What the page says, and why there is a command."""
    (rows,) = duckdb.sql(
        f"SELECT count(*) FROM read_parquet('{run}/rollups/*.parquet', union_by_name = true)"
    ).fetchall()
    assert rows[0] > expected(run)[1]


def test_what_is_said_of_a_file(run, capsys):
    result = files(run, "rollups")
    assert {(f.attempt, f.first_step, f.last_step, f.k) for f in result} == {(1, 1, 2, 4), (2, 3, 5, 3)}
    assert {f.rank for f in result} == {0, 1} and {f.world_size for f in result} == {2}
    assert all(f.path.is_absolute() and f.path.stat().st_size == f.bytes and f.verified for f in result)
    (partly,) = [f for f in result if f.partly]
    assert (partly.attempt, partly.rank) == (1, 1)
    assert main(["files", str(run), "--table", "rollups"]) == 0
    out, err = capsys.readouterr()
    assert [LiveFile(**{**f, "path": partly.path.parent / f["path"]}) for f in json.loads(out)] == result
    assert err == ""


def test_fields_are_documented():
    table = PAGE[PAGE.index("| field |") : PAGE.index("Missing, torn")]
    named = {name for cell in re.findall(r"^\| (`[^|]+) \|", table, re.M) for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(LiveFile.__dataclass_fields__)


def test_paths_say_what_they_cannot_say(run, capsys):
    assert main(["files", str(run), "--table", "tokens", "--format", "paths"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(file.path) for file in files(run, "tokens")]
    assert err == "note: run: of attempt 1 only rows up to step 2 count, and some files hold later ones\n"
    assert main(["files", str(run), "--table", "evals", "--format", "paths"]) == 0
    assert "attempts 1 and 2 both evaluated from step 2 on" in capsys.readouterr().err


def test_damaged_and_missing_files_are_named_and_left_out(run, capsys):
    first, second, third, *others = files(run, "tokens")
    content = bytearray(first.path.read_bytes())
    content[len(content) // 2] ^= 1
    first.path.write_bytes(content)
    second.path.unlink()
    os.truncate(third.path, third.bytes - 1)
    assert main(["files", str(run), "--table", "tokens"]) == 0
    out, err = capsys.readouterr()
    assert [f["path"] for f in json.loads(out)] == [str(f.path) for f in others]
    for path, words in ((first.path, "checksum"), (second.path, "No such file"), (third.path, "torn")):
        assert any(str(path) in line and words in line for line in err.splitlines())
    with warnings.catch_warnings(record=True) as caught:
        assert files(run, "tokens") == others
    assert len(caught) == 3


def test_large_files_are_read_when_asked_for(run, monkeypatch, capsys):
    monkeypatch.setattr("simko.store.reading.live_files._SMALL", 10)
    assert not any(f.verified for f in files(run, "tokens"))
    assert all(f.verified for f in files(run, "tokens", verify=True))
    assert main(["files", str(run), "--table", "tokens", "--format", "paths"]) == 0
    assert re.search(r"(\d+) of \1 files were not compared", capsys.readouterr().err)


def test_an_attempt_that_logged_nothing_hides_nothing(run):
    before = files(run, "rollups")
    write_attempt(run, 3, 1, 0)
    assert [f for f in files(run, "rollups") if f.attempt < 3] == before


def test_evaluations_beside_training_count_once_complete(run):
    write_evaluation(run, units=3)
    own = [f for f in files(run, "samples") if f.evaluation]
    assert [(f.attempt, f.first_step, f.last_step, f.rank, f.k) for f in own] == [(None,) * 5] * 3
    result, problems = live_files(run, "evals")
    assert not any(f.evaluation for f in result) and any("3 of 4 units done" in line for line in problems)
    write_evaluation(run)
    result, problems = live_files(run, "evals")
    assert (sum(f.evaluation is not None for f in result), problems) == (4, [])
    with simko.store.open(run) as connection:
        counts = "SELECT prompt_id, sum(n), sum(c) FROM {} WHERE benchmark = 'aime24' GROUP BY ALL ORDER BY ALL"
        rows = duckdb.connect().execute(counts.format(f"({select(result)})")).fetchall()
        assert rows == connection.execute(counts.format("evals")).fetchall() and len(rows) == 3


def test_of_several_runs_with_odd_names(written, tmp_path):
    for name in ("a'b", "run"):
        shutil.copytree(written, tmp_path / name)
    result = files(tmp_path, "rollups")
    assert {f.run for f in result} == {"a'b", "run"}
    rows = (
        duckdb.connect().execute(f"SELECT run, count(*) FROM ({select(result)}) GROUP BY run ORDER BY run").fetchall()
    )
    assert rows == [("a'b", expected(written)[1]), ("run", expected(written)[1])]


def test_of_an_empty_folder(tmp_path, capsys):
    assert all(files(tmp_path, table) == [] for table in TABLES)
    for form, code, out in (("json", 0, "[]\n"), ("paths", 0, ""), ("sql", 2, "")):
        assert main(["files", str(tmp_path), "--table", "tokens", "--format", form]) == code
        captured = capsys.readouterr()
        assert captured.out == out and captured.err.count("\n") == (code > 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--table", "lambda_k"], "there are: tokens, responses"),
        (["run"], "--table"),
        (["none", "--table", "tokens"], "no run named none"),
        (["run", "--table", "tokens", "--format", "csv"], "there are: json, paths, sql"),
    ],
)
def test_mistakes_are_one_line(arguments, words, run, capsys):
    assert main(["files", *arguments, "--runs", str(run.parent)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1


def test_a_path_that_fits_on_no_line(written, tmp_path, capsys):
    run = shutil.copytree(written, tmp_path / "two\nlines" / "run")
    assert main(["files", str(run), "--table", "tokens", "--format", "paths"]) == 2
    assert "use --format json" in capsys.readouterr().err
    assert main(["files", str(run), "--table", "tokens"]) == 0
    assert (
        len(json.loads(capsys.readouterr().out))
        == len([p for p in read_manifest(run).parts if p.table == "tokens"]) - 2
    )
