"""Runs of every schema version there has been: opened, asked, continued; what they did not log is NULL."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import simko.store
from batches import random_batch
from simko.store import SCHEMA_VERSION, Catalog, Recorder
from simko.store.layout.run import next_attempt
from simko.store.maintenance.compaction import compact
from simko.store.reading.named_queries import named_queries
from simko.store.reading.views import VIEWS

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.glob("v*"))
SINCE = {  # column → the version that has it first
    ("evals", "benchmark"): 5,
    ("samples", "completion"): 5,
    ("tokens", "ratio"): 2,
    ("tokens", "weight"): 2,
    ("rollups", "sum_push_1"): 2,
    ("rollups", "sum_shift_1"): 2,
    ("tokens", "sampler_logprob"): 5,
    ("tokens", "collision_logprob"): 6,
    ("rollups", "sum_entropy_push"): 6,
    ("rollups", "sum_entropy_shift"): 6,
}


def test_every_version_has_a_run():
    assert [f"v{version}" for version in range(1, SCHEMA_VERSION + 1)] == VERSIONS


@pytest.mark.parametrize("name", VERSIONS)
def test_it_opens_and_its_figures_are_what_they_were(name):
    catalog = Catalog(FIXTURES / name)
    assert catalog.problems == []

    def ask(sql):
        return catalog.connection.execute(sql).fetchall()

    assert ask("SELECT run, method, status, last_step, schema_version FROM runs") == [
        (name, "simko", "finished", 6, int(name[1:]))
    ]
    assert ask("SELECT count(*), sum(n_tokens) FROM responses") == [(96, 576)]
    assert ask("SELECT count(*), count(text) FROM tokens") == [(576, 576)]
    ((lambda_1, pass_1),) = ask(
        "SELECT (SELECT lambda_k FROM lambda_k WHERE step = 6 AND k = 1 AND verdict = 'all'),"
        "       (SELECT pass_at_k FROM pass_at_k WHERE step = 6 AND k = 1 AND source = 'exact')"
    )
    assert (lambda_1, pass_1) == (pytest.approx(-0.3027, abs=1e-3), pytest.approx(0.1492, abs=1e-3))
    for view in VIEWS:
        ask(f"SELECT * FROM {view}")
    for (table, column), version in SINCE.items():
        ((result,),) = ask(f"SELECT count({column}) FROM {table}")
        assert (result > 0) == (int(name[1:]) >= version)
    assert (ask("SELECT count(*) FROM costs")[0][0] > 0) == (int(name[1:]) >= 3)


def test_all_versions_in_one_connection():
    with simko.store.open(FIXTURES) as connection:
        runs = connection.execute("SELECT run, count(*) FROM tokens GROUP BY run ORDER BY run").fetchall()
        assert runs == [(name, 576) for name in VERSIONS]
        for query in named_queries().values():
            connection.sql(query.sql, params=query.parameters({}) or None).fetchall()


@pytest.mark.parametrize("name", VERSIONS)
def test_it_can_be_continued_and_compacted(name, tmp_path):
    run = shutil.copytree(FIXTURES / name, tmp_path / name)
    with Recorder(run, k=4, attempt=next_attempt(run), start_step=4) as recorder:
        recorder.put(random_batch(5, np.random.default_rng(0)))
        recorder.end_step(5)
    for _ in range(2):
        with simko.store.open(run) as connection:
            steps = connection.execute("SELECT step, max(attempt) FROM rollups GROUP BY step ORDER BY step").fetchall()
            assert steps == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2)]
            assert connection.execute("SELECT count(*) FROM all_tokens WHERE attempt = 1").fetchall() == [(576,)]
            assert connection.execute("SELECT count(*) FROM lambda_k WHERE step = 5 AND k = 4").fetchall()[0][0] > 0
        compact(run)


def test_reading_writes_nothing(tmp_path):
    run = shutil.copytree(FIXTURES / "v1", tmp_path / "v1")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with simko.store.open(run) as connection:
        connection.execute("SELECT count(*) FROM tokens").fetchall()
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
