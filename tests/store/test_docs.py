"""`docs/schema.md` says what is: every column of every table and view once, with its type; the examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import simko.store
from simko.cli.simko import main
from simko.store.demo.small_run import write_demonstration_run
from simko.store.layout.schema import COLUMNS, TABLES
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.garbage import collect
from simko.store.reading.catalog import Catalog
from simko.store.reading.named_queries import PARAMETER, named_queries
from simko.store.reading.views import VIEWS

DOCS = Path(__file__).parents[2] / "docs"
SECTION = re.compile(r"^### `(\w+)`( \(view\))?\n(.*?)(?=^#|\Z)", re.M | re.S)
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", re.M)


def sections():
    text = (DOCS / "schema.md").read_text()
    return {(name, bool(view)): ROW.findall(body) for name, view, body in SECTION.findall(text)}


@pytest.mark.parametrize("table", TABLES)
def test_every_table_column_is_documented_once(table):
    rows = sections()[table, False]
    expected = [f"{c.name}_1 … {c.name}_K" if c.ranked else c.name for c in COLUMNS[table]]
    assert [name for name, _, _ in rows] == expected
    assert [doc.strip() for _, _, doc in rows] == [c.doc for c in COLUMNS[table]]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_column_is_documented_once(view, tmp_path):
    catalog = Catalog(tmp_path)
    described = {row[0]: row[1] for row in catalog.connection.execute(f"DESCRIBE {view}").fetchall()}
    documented = {name: type_.strip() for name, type_, _ in sections()[view, True]}
    if view in COLUMNS:
        ranked = {c.name for c in COLUMNS[view] if c.ranked}
        own = {c.name for c in COLUMNS[view] if not c.ranked}
        described = {n: t for n, t in described.items() if n not in own and n.rpartition("_")[0] not in ranked}
    assert documented == described


def test_all_views_and_tables_have_a_section():
    assert set(sections()) == {(t, False) for t in TABLES} | {(v, True) for v in VIEWS}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked") / "runs"
    for name in ("first", "second"):
        write_demonstration_run(folder, name=name, steps=12, responses=16)
    return folder


def code(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.S)


def test_the_queries_that_come_with_it_are_listed():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+?) \| (.*?) ?\|$", (DOCS / "queries.md").read_text(), re.M)
    declared = {
        query.name: ", ".join(f"`{name}` = {value}: {what}" for name, value, what in PARAMETER.findall(query.sql))
        for query in named_queries().values()
    }
    assert rows == [(name, query.description, declared[name]) for name, query in named_queries().items()]


@pytest.mark.parametrize("python", code("queries.md", "python"), ids=["frames", "joins"])
def test_python_examples_run(python, runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    names = {}
    exec(python, names)
    if "polars_frame" in names:
        assert len(names["pandas_frame"]) == len(names["polars_frame"]) == names["arrow_table"].num_rows > 24
    else:
        assert names["by_level"].iloc[:, 1].sum() == 2 * 12 * 16


@pytest.mark.parametrize("page", ["queries.md", "keeping.md"])
def test_commands_run(page, runs, monkeypatch, capsys):
    monkeypatch.chdir(runs.parent)
    lines = [shlex.split(line, comments=True) for line in code(page, "sh")[0].splitlines()]
    for line in lines:
        assert line[0] == "simko"
        if "--watch" not in line:
            fired = (1, 4, 5) if line[1] == "findings" else ()  # its exit code is an answer
            assert main(line[1:]) in (0, *fired), line
            assert capsys.readouterr().out


def test_what_is_read_without_the_package_is_what_the_views_say(tmp_path, monkeypatch):
    """As it was written, merged, and merged and cleared."""
    write_demonstration_run(tmp_path / "runs", name="first", steps=12, responses=16)
    monkeypatch.chdir(tmp_path)
    glob, by_manifest = code("schema.md", "sql")

    def asked(sql):
        connection = duckdb.connect()
        for statement in sql.split(";\n"):
            result = connection.execute(statement)
        return result.df()

    def same():
        with simko.store.open("runs") as connection:
            sums = "SELECT step, avg(logp_1) AS logp_1 FROM tokens GROUP BY step ORDER BY step"
            pd.testing.assert_frame_equal(asked(by_manifest), connection.sql(sums).df())
            return connection.sql(
                "SELECT step, verdict, lambda_k AS lambda_1 FROM lambda_k WHERE k = 1 AND verdict <> 'all' ORDER BY ALL"
            ).df()

    pd.testing.assert_frame_equal(asked(glob), same())
    assert compact(tmp_path / "runs" / "first").replaced > 4
    pd.testing.assert_frame_equal(asked(glob), same())
    assert len(collect(tmp_path / "runs" / "first", grace=0)) > 4
    same()
