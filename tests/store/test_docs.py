"""`docs/schema.md` says what is: every column of every table and view once, with its type."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from simko.store.catalog import VIEWS, Catalog
from simko.store.schema import COLUMNS, TABLES

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
