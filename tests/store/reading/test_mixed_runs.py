"""Runs and attempts of different K, and a run given twice: what was not logged is NULL, nothing counts twice."""

from __future__ import annotations

import pytest
from simko.store.demo.small_run import write_demonstration_run
from simko.store.reading.catalog import Catalog
from simko.store.reading.named_queries import named_queries
from simko.store.reading.sandbox import LockedRuns
from simko.store.reading.views import VIEWS

SMALL = {"steps": 4, "responses": 8, "flush_seconds": 0.0}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Runs of K = 3 and K = 8, and one that went from 3 to 8 after step 2."""
    folder = tmp_path_factory.mktemp("mixed")
    write_demonstration_run(folder, name="three", k=3, **SMALL)
    write_demonstration_run(folder, name="eight", k=8, **SMALL)
    write_demonstration_run(folder, name="both", k=3, **SMALL)
    write_demonstration_run(folder, name="both", k=8, resume=True, start_step=2, **SMALL)
    return folder


@pytest.fixture(scope="module")
def ask(mixed):
    connection = Catalog(mixed).connection
    return lambda sql: connection.execute(sql).fetchall()


def test_every_view_and_query_answers(ask, mixed):
    for view in VIEWS:
        ask(f"SELECT max(hash(COLUMNS(*))) FROM {view}")
    locked = LockedRuns(mixed)
    for query in named_queries().values():
        locked.ask(query.sql, parameters=query.parameters({}), seconds=60)


def test_ranks_that_were_not_logged_are_null(ask):
    assert ask("SELECT count(logp[4]), count(logp[3]) > 0 FROM tokens WHERE run = 'three'") == [(0, True)]
    assert ask("SELECT max(k) FROM lambda_k WHERE run = 'three'") == [(3,)]
    assert ask("SELECT step, max(k) FROM lambda_k WHERE run = 'both' GROUP BY step ORDER BY step") == [
        (1, 3), (2, 3), (3, 8), (4, 8)
    ]  # fmt: skip


def test_the_push_is_that_of_the_run_alone(ask, tmp_path):
    """A run's push does not depend on what lies beside it."""
    rows = "SELECT step, response_id, position, push FROM token_push WHERE run = 'three' ORDER BY ALL"
    under = "SELECT step, verdict, k, push FROM push_under('simko') WHERE run = 'three' ORDER BY ALL"
    write_demonstration_run(tmp_path, name="three", k=3, **SMALL)
    alone = Catalog(tmp_path).connection
    assert ask(rows) == alone.execute(rows).fetchall()
    beside, by_itself = ask(under), alone.execute(under).fetchall()
    assert [row[:3] for row in beside] == [row[:3] for row in by_itself]
    assert [row[3] for row in beside] == pytest.approx([row[3] for row in by_itself], abs=1e-9)
    assert ask("SELECT DISTINCT len(push) FROM token_push WHERE run = 'eight'") == [(8,)]


def test_a_run_given_twice_counts_once(mixed, tmp_path):
    (tmp_path / "linked").symlink_to(mixed / "three")
    both = Catalog([mixed / "three", tmp_path, mixed / ".." / mixed.name / "three"])
    alone = Catalog(mixed / "three")
    count = "SELECT count(*), count(DISTINCT run) FROM tokens"
    assert both.connection.execute(count).fetchall() == alone.connection.execute(count).fetchall()


def test_a_filter_on_a_run_opens_its_files_alone(mixed):
    plan = (
        Catalog(mixed)
        .connection.execute("EXPLAIN ANALYZE SELECT count(entropy) FROM all_tokens WHERE run = 'three'")
        .fetchall()[0][1]
    )
    assert "three/tokens" in plan and "eight/tokens" not in plan


def test_runs_of_one_name_are_told_apart_by_their_paths(mixed, tmp_path):
    write_demonstration_run(tmp_path, name="three", k=3, **SMALL)
    catalog = Catalog([mixed, tmp_path])
    counts = "SELECT run, count(*) FROM tokens WHERE run LIKE '%three' GROUP BY run"
    rows = catalog.connection.execute(counts).fetchall()
    assert len(rows) == 2 and len({n for _, n in rows}) == 1
    assert catalog.connection.execute("SELECT count(*) FROM tokens WHERE text IS NULL").fetchall() == [(0,)]
