"""Evaluations beside training in the store: whole or missing, never superseded, kept apart, merged and collected."""

from __future__ import annotations

import math
import os
import shutil
from itertools import combinations, product
from pathlib import Path

import manifests
import numpy as np
import pytest
from batches import random_batch
from evaluations import RIGHT, header, publish, write_evaluation
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.dashboard.mirror import Mirror
from simko.store import Catalog, Recorder
from simko.store.analysis.benchmark_results import benchmark_results
from simko.store.analysis.estimators import cover_at, pass_at_k, pass_hat_k
from simko.store.demo.small_run import write_demonstration_run
from simko.store.errors import EvaluationChanged, RunBusy, RunUnwritable
from simko.store.layout.manifest import read_manifest
from simko.store.maintenance import garbage
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.doctor import check
from simko.store.writing.evaluation_writer import EvaluationWriter

ID = "0123456789ab"
MANIFEST = f"manifest/evaluation-{ID}.jsonl"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return write_demonstration_run(tmp_path_factory.mktemp("made"), name="run", steps=6, responses=8)


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def ask(folder, sql):
    catalog = Catalog(folder)
    assert catalog.problems == []
    return catalog.connection.execute(sql).fetchall()


COUNTS = "SELECT prompt_id, n, c FROM evals WHERE benchmark = 'aime24' ORDER BY prompt_id"
OWN = "SELECT step, split, source, k, pass_at_k FROM pass_at_k WHERE benchmark IS NULL ORDER BY ALL"


def test_blocks_add_up_and_the_runs_own_figures_stay(run):
    before = ask(run, OWN)
    write_evaluation(run)
    assert ask(run, COUNTS) == [("p0", 3, 2), ("p1", 3, 1), ("p2", 3, 0)]
    assert ask(run, OWN) == before
    ((mean, problems, samples),) = ask(
        run, "SELECT pass_at_k, n_problems, n_samples FROM pass_at_k WHERE benchmark = 'aime24' AND k = 2"
    )
    # Of three responses, two are drawn: with 2, 1 and 0 right ones
    assert (mean, problems, samples) == (pytest.approx((1 + 2 / 3 + 0) / 3), 3, 9)
    assert ask(run, "SELECT count(*), count(*) FILTER (verdict = 'right') FROM samples") == [(9, len(RIGHT))]
    assert ask(run, "SELECT status, complete, newest, n_problems, units_done FROM evaluations") == [
        ("finished", True, True, 3, 4)
    ]


def test_concentration_meets_pass_at_k(run):
    write_evaluation(run)
    rows = ask(run, "SELECT step, k, lambda_1, trained_step FROM concentration WHERE benchmark = 'aime24' ORDER BY k")
    assert [(step, k, trained) for step, k, _, trained in rows] == [(4, 1, 5), (4, 2, 5)]
    assert all(lambda_1 < 0 for _, _, lambda_1, _ in rows)


def test_half_an_evaluation_counts_nowhere_and_says_so(run):
    write_evaluation(run, units=3)
    assert ask(run, COUNTS) == []
    assert ask(run, "SELECT status, complete, units_done, units FROM evaluations") == [("interrupted", False, 3, 4)]
    assert ask(run, "SELECT count(*) FROM samples") == [(8,)]
    write_evaluation(run)
    assert ask(run, COUNTS) == [("p0", 3, 2), ("p1", 3, 1), ("p2", 3, 0)]
    assert ask(run, "SELECT count(*), count(DISTINCT (prompt_id, sample)) FROM samples") == [(9, 9)]


def test_no_attempt_hides_it_and_it_hides_none(run):
    write_evaluation(run)
    with Recorder(run, k=5, attempt=2, start_step=2) as recorder:
        recorder.put(random_batch(3, np.random.default_rng(0), k=5))
        recorder.end_step(3)
    assert ask(run, "SELECT max(step) FROM rollups") == [(3,)]
    assert len(ask(run, COUNTS)) == 3


def test_it_is_written_while_the_run_trains(run):
    with Recorder(run, k=5, attempt=2, start_step=6) as recorder:
        write_evaluation(run)
        recorder.put(random_batch(7, np.random.default_rng(0), k=5))
        recorder.end_step(7)
        recorder.flush()
        assert Catalog(run).problems == []
    assert len(ask(run, COUNTS)) == 3
    assert ask(run, "SELECT status, attempts FROM runs") == [("finished", 2)]


def test_two_evaluations_of_a_step_are_kept_apart(run):
    write_evaluation(run)
    other = header()["settings"] | {"temperature": 1.0}
    write_evaluation(run, "ba9876543210", settings=other)
    rows = ask(run, "SELECT evaluation, count(*) FROM pass_at_k WHERE benchmark = 'aime24' GROUP BY 1 ORDER BY 1")
    assert rows == [(ID, 2), ("ba9876543210", 2)]
    assert ask(run, "SELECT count(*) FROM evaluations WHERE newest") == [(1,)]


def test_compaction_and_collection_change_no_answer(run):
    write_evaluation(run)
    questions = (COUNTS, OWN, "SELECT * FROM samples ORDER BY prompt_id, sample")

    def answers():
        catalog = Catalog(run)
        assert catalog.problems == []
        return [catalog.connection.execute(question).fetchall() for question in questions]

    before = answers()
    compact(run)
    assert any(part.path.name.startswith("merged-evaluation-") for part in read_manifest(run).parts)
    assert answers() == before
    assert garbage.collect(run, grace=0)
    write_evaluation(run)  # all there: nothing to do
    assert answers() == before


def test_doctor_finds_nothing_wrong(run):
    write_evaluation(run, units=2)
    (result,), elsewhere = check(run, deep=True)
    assert (result.findings, elsewhere) == ([], [])
    assert (
        f"evaluation {ID} on aime24: 2 of 4 blocks, interrupted; the same `simko eval` goes on with it" in result.notes
    )


def test_doctor_finds_responses_that_are_gone(run):
    write_evaluation(run)
    sorted((run / "samples").glob("*.parquet"))[0].unlink()
    (result,), _ = check(run, deep=True)
    assert f"evaluation {ID}: 5 responses where 9 were counted" in result.findings


def test_the_dashboard_follows_it(run):
    mirror = Mirror(run.parent)
    mirror.refresh()
    write_evaluation(run)
    mirror.refresh()
    assert mirror.problems == []
    frame = mirror.frame("SELECT count(*) AS n FROM evals WHERE benchmark = 'aime24'")
    assert int(frame["n"][0]) == 3


def test_a_killed_process_is_seen_and_collection_leaves_its_files(run):
    writer = EvaluationWriter(run, ID, header())
    publish(writer, 0)
    assert ask(run, "SELECT status FROM evaluations") == [("running",)]
    assert garbage.garbage(run) == []
    writer._ended.set()
    writer._file.close()
    os.close(writer._lock)
    other = os.fork()
    if other == 0:
        os._exit(0)
    os.waitpid(other, 0)
    manifests.rewrite(run / MANIFEST, lambda entry: entry | ({"pid": other} if "pid" in entry else {}))
    assert ask(run, "SELECT status FROM evaluations") == [("stopped",)]
    write_evaluation(run)
    assert ask(run, "SELECT status, complete FROM evaluations") == [("finished", True)]


@pytest.mark.parametrize("cut", [1, 700])
def test_a_torn_end_is_done_again(run, cut):
    write_evaluation(run, units=3)
    path = run / MANIFEST
    path.write_bytes(path.read_bytes()[:-cut])
    write_evaluation(run)
    assert ask(run, COUNTS) == [("p0", 3, 2), ("p1", 3, 1), ("p2", 3, 0)]
    assert ask(run, "SELECT count(*), count(DISTINCT (prompt_id, sample)) FROM samples") == [(9, 9)]


def test_an_altered_line_is_named_and_its_unit_done_again(run):
    write_evaluation(run)
    path = run / MANIFEST
    lines = path.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b'"unit": 1', b'"unit": 3')
    path.write_bytes(b"".join(lines))
    catalog = Catalog(run)
    assert any("line 6 is damaged" in problem for problem in catalog.problems)
    assert catalog.connection.execute("SELECT complete FROM evaluations").fetchall() == [(False,)]
    write_evaluation(run)
    catalog = Catalog(run)
    assert catalog.connection.execute(COUNTS).fetchall() == [("p0", 3, 2), ("p1", 3, 1), ("p2", 3, 0)]


def test_a_manifest_that_is_gone_is_named_by_the_next_attempt(run):
    write_evaluation(run)
    Recorder(run, k=5, attempt=2, start_step=6).close()
    (run / MANIFEST).unlink()
    assert any(f"evaluation-{ID}.jsonl: gone" in problem for problem in Catalog(run).problems)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"engine": "server"}, "engine"),
        ({"digest": "x"}, "digest"),
        ({"problems": 4}, "problems"),
        ({"step": 5}, "step"),
    ],
)
def test_it_does_not_go_on_in_another_way(run, change, named):
    write_evaluation(run, units=1)
    with pytest.raises(EvaluationChanged, match=f"another {named}"):
        write_evaluation(run, **change)


def test_one_process_at_a_time(run):
    with EvaluationWriter(run, ID, header()) as writer:
        with pytest.raises(RunBusy, match="being written"):
            EvaluationWriter(run, ID, header())
        publish(writer, 0)


def test_a_disk_that_refuses_leaves_nothing_of_the_unit(run, monkeypatch):
    writer = EvaluationWriter(run, ID, header())
    publish(writer, 0)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunUnwritable, match="No space"):
        publish(writer, 1)
    monkeypatch.undo()
    writer.close("failed")
    assert ask(run, "SELECT status, units_done FROM evaluations") == [("failed", 1)]
    write_evaluation(run)
    assert len(ask(run, COUNTS)) == 3


def test_results_are_those_of_the_views(run):
    write_evaluation(run)
    connection = Catalog(run).connection
    (result,) = benchmark_results(connection, ID, (1, 2))
    views = connection.execute("SELECT k, pass_at_k FROM pass_at_k WHERE evaluation IS NOT NULL ORDER BY k").fetchall()
    assert [(point.k, point.mean) for point in result.curve] == [(k, pytest.approx(mean)) for k, mean in views]
    assert (result.truncated, result.unextracted, result.unjudged) == (pytest.approx(6 / 9), None, 0)
    assert benchmark_results(connection, "f" * 12) == []


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_hat_k_is_the_share_of_draws_that_are_all_right(case):
    n, c, k = case
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_hat_k([n], [c], k)[0] == pytest.approx(sum(map(all, draws)) / len(draws))
    assert math.isnan(pass_hat_k([n], [c], n + 1)[0])


def test_cover_counts_the_problems_that_reach_tau():
    for n, c, tau in product((0, 1, 3, 10), range(11), (0.1, 1 / 3, 0.5, 0.7, 1.0)):
        if c <= n:
            reached = cover_at([n], [c], tau)[0]
            assert math.isnan(reached) if n == 0 else reached == (round(c / n, 9) >= round(tau, 9))


@pytest.fixture(scope="module")
def problems():
    """A connection whose view `problems` is a table to fill."""
    connection = Catalog([]).connection
    connection.execute("CREATE TABLE given AS FROM problems")
    connection.execute("CREATE OR REPLACE VIEW problems AS FROM given")
    return connection


@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(0, 16), min_size=1, max_size=6), tau=st.sampled_from([0.25, 0.5, 1.0]))
def test_sql_and_numpy_agree(problems, counts, tau):
    problems.execute("DELETE FROM given")
    for i, c in enumerate(counts):
        row = ["r", 0, "benchmark", "sampled", "b", "e", f"p{i}", 16, c, None]
        problems.execute("INSERT INTO given VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    n = [16] * len(counts)
    for view, estimate in (("pass_at_k", pass_at_k), ("pass_hat_k", pass_hat_k)):
        for k, value in problems.execute(f"SELECT k, {view} FROM {view} ORDER BY k").fetchall():
            assert value == pytest.approx(float(estimate(n, counts, k).mean()), abs=1e-9)
    ((cover,),) = problems.execute(f"SELECT cover FROM cover_at({tau})").fetchall()
    assert cover == pytest.approx(float(cover_at(n, counts, tau).mean()))
