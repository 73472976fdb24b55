from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from batches import random_batch
from simko.dashboard.live_tables import waiting_rows
from simko.dashboard.live_tables.waiting_rows import WaitingRows
from simko.dashboard.mirror import Mirror
from simko.store import Recorder
from simko.store.layout.run import create_or_resume


@pytest.fixture
def tables():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE a (x INTEGER, y DOUBLE); CREATE TABLE b (x INTEGER); CREATE VIEW on_a AS FROM a")
    return connection, WaitingRows(connection)


def rows(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int32())})


def there(connection, table: str) -> list[tuple]:
    return connection.execute(f"SELECT x FROM {table} ORDER BY x").fetchall()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM on_a WHERE x IN (SELECT unnest($1)) AND y > ?", ["a"]),
        ("WITH c AS (FROM on_a) SELECT 1 FROM c, b", ["a", "b"]),
        ("SELECT (SELECT max(x) FROM main.b)", ["b"]),
        ("SELECT 1", ["a", "b"]),
        ("SELECT nothing FROM nowhere", ["a", "b"]),
        ("no SQL", ["a", "b"]),
        ("SELECT * FROM b, read_parquet('no file')", ["a", "b"]),
        (None, ["a", "b"]),
    ],
)
def test_a_query_needs_the_tables_under_its_views_or_all(tables, sql, expected):
    _, waiting = tables
    assert waiting.tables_of(sql) == []
    waiting.add("a", rows(1))
    waiting.add("b", rows(1))
    assert waiting.tables_of(sql) == expected
    assert waiting.tables_of(sql) == expected


def test_rows_go_in_once_in_the_place_of_others_or_beside_them(tables):
    connection, waiting = tables
    waiting.add("a", rows(1, 2))
    waiting.add("a", pa.table({"y": [0.5], "x": pa.array([3], pa.int32())}))
    waiting.add("b", rows(1))
    assert there(connection, "a") == []
    waiting.put(["a"])
    assert connection.execute("SELECT * FROM a ORDER BY x").fetchall() == [(1, None), (2, None), (3, 0.5)]
    assert there(connection, "b") == []
    waiting.put()
    waiting.replace("b", rows(7))
    waiting.replace("b", rows(8))
    waiting.add("b", rows(9))
    assert there(connection, "b") == [(1,)]
    waiting.put()
    waiting.put()
    assert there(connection, "b") == [(8,), (9,)]
    waiting.replace("b", rows())
    waiting.put()
    assert there(connection, "b") == [] and len(there(connection, "a")) == 3


def test_many_parts_and_many_rows_do_not_wait(tables, monkeypatch):
    connection, waiting = tables
    monkeypatch.setattr(waiting_rows, "_MOST_PARTS", 3)
    monkeypatch.setattr(waiting_rows, "_MOST_ROWS", 10)
    for value in range(4):
        assert there(connection, "a") == []
        waiting.add("a", rows(value))
    assert len(there(connection, "a")) == 4
    waiting.add("a", rows(*range(11)))
    assert len(there(connection, "a")) == 15


def test_a_page_that_asks_for_one_table_leaves_the_others_waiting_and_nothing_is_lost(tmp_path):
    mirror, rng = Mirror(tmp_path), np.random.default_rng(0)
    create_or_resume(tmp_path / "run", {"probe": {"k": 4}}, resume=False)
    with Recorder(tmp_path / "run", k=4, attempt=1) as recorder:
        for step in range(1, 5):
            recorder.put(random_batch(step, rng))
            recorder.end_step(step)
            recorder.put_evals({"step": [step], "split": ["all"], "source": ["exact"], "success": [0.5]})
            recorder.flush()
            mirror.refresh()
            assert mirror.frame("SELECT max(step) AS s FROM lambda_k")["s"][0] == step
        of = {name: f"SELECT count(DISTINCT step) AS n FROM all_{name}" for name in ("rollups", "evals")}
        assert all(mirror._con.execute(sql).fetchone()[0] < 4 for sql in of.values())
        assert [mirror.frame(sql)["n"][0] for sql in of.values()] == [4, 4]
        with mirror.snapshot() as connection:
            assert connection.execute("SELECT sum(n_rows) FROM sizes WHERE table_name = 'evals'").fetchone() == (4,)
