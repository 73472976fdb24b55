"""Ways out of the SQL console: every one is refused or stopped, in a line, and the next question is answered."""

from __future__ import annotations

import os
import shutil
import time

import pandas as pd
import pytest
from effort import some
from simko.store.demo.small_run import write_demonstration_run
from simko.store.errors import QueryFailed
from simko.store.reading.sandbox import LockedRuns, ask

secret_frame = pd.DataFrame({"secret": ["found through Python"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("there")
    write_demonstration_run(folder / "runs", name="shown", steps=3, responses=16)
    write_demonstration_run(folder / "others", name="hidden", steps=1, responses=8)
    (folder / "secret.txt").write_text("secret")
    (folder / "secret.csv").write_text("a,b\n1,2\n")
    (folder / "secret.json").write_text('{"a": 1}')
    return folder


@pytest.fixture(scope="module")
def opened(folder):
    return LockedRuns(folder / "runs")


@pytest.fixture
def runs(opened):
    """The same connection for every test: what one has tried must not help the next."""
    runs = opened
    assert runs.problems == []
    yield runs
    assert runs.ask("SELECT count(*) AS n FROM runs").rows.n[0] == 1  # still answers


PROBES = [
    # reading files
    "SELECT * FROM read_text('{folder}/secret.txt')",
    "SELECT * FROM read_blob('{folder}/secret.txt')",
    "SELECT * FROM read_csv('{folder}/secret.csv')",
    "SELECT * FROM '{folder}/secret.csv'",
    "SELECT * FROM '{folder}/secret.json'",
    "SELECT * FROM read_json_auto('{folder}/secret.json')",
    "SELECT * FROM read_parquet('{folder}/others/hidden/tokens/*.parquet')",
    "SELECT * FROM read_parquet('{folder}/runs/shown/tokens/*.parquet')",
    "SELECT * FROM read_parquet('{folder}/runs/../others/hidden/tokens/*.parquet')",
    "SELECT * FROM parquet_metadata('{folder}/runs/shown/vocabulary.parquet')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM sniff_csv('{folder}/secret.csv')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM query('SELECT * FROM read_text(''{folder}/secret.txt'')')",
    "SELECT * FROM query_table('{folder}/secret.csv')",
    "WITH x AS (SELECT * FROM read_text('/etc/hostname')) SELECT * FROM x",
    "SELECT (SELECT content FROM read_text('/etc/hostname'))",
    # writing files
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/runs/shown/out.parquet' (FORMAT parquet)",
    "WITH x AS (COPY (SELECT 1 AS a) TO '{folder}/out.csv') SELECT 1",
    "WITH x AS (COPY (SELECT 1 AS a) TO '{folder}/out.csv' RETURNING *) SELECT * FROM x",
    "EXPORT DATABASE '{folder}/out'",
    # other databases, extensions, network
    "ATTACH '{folder}/out.duckdb'",
    "ATTACH ':memory:' AS other",
    "CREATE TABLE mine AS SELECT 1",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/evil.duckdb_extension'",
    "SELECT * FROM 'https://example.com/x.csv'",
    "SELECT * FROM read_csv('https://example.com/x.csv')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    # settings
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "PRAGMA enable_external_access = true",
    "SET memory_limit = '100GB'",
    "SET python_enable_replacements = true",
    "PRAGMA database_list",
    "CALL pragma_version()",
    # Python
    "SELECT * FROM secret_frame",
    "SELECT * FROM 'secret_frame'",
    # more than one statement, or none
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '{folder}/out.csv'",
    "",
    "-- nothing",
    # changing what the next question sees
    "DROP VIEW runs",
    "CREATE OR REPLACE VIEW runs AS SELECT 1",
    "DELETE FROM attempts",
    "INSERT INTO attempts SELECT * FROM attempts",
    "UPDATE attempts SET status = 'finished'",
    "WITH x AS (DELETE FROM attempts RETURNING *) SELECT * FROM x",
    "CREATE MACRO count(x) AS 1",
    "BEGIN TRANSACTION",
    "PREPARE p AS SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "VACUUM",
]


EXHAUSTION = [
    "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
    "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT max(i) FROM r",
    "SELECT length(repeat('x', 3000000000))",
    "SELECT list(i) FROM range(1000000000) t(i)",
    "SELECT i FROM range(10000000000) t(i) ORDER BY hash(i)",
    "SELECT string_agg(repeat('x', 100000), '') FROM range(100000)",
    "SELECT * FROM generate_series(1, 10000000000) a(i) WHERE regexp_matches(repeat('a', 30) || i, '(a*)*b')",
]


IGNORE_INTERRUPTION = [
    "SELECT levenshtein(repeat('ab', 300000), repeat('ba', 300000))",
    "SELECT damerau_levenshtein(repeat('ab', 10000), repeat('ba', 10000))",
    "SELECT jaro_similarity(repeat('ab', 3000000), repeat('ba', 3000000))",
    "SELECT list_sort(list_transform(range(30000000), lambda x: hash(x)))[1]",
    "SELECT list_distinct(list_transform(range(50000000), lambda x: hash(x)))[1]",
    "SELECT length(list_reduce(list_transform(range(300000), lambda x: x::VARCHAR), lambda x, y: x || y))",
    "SELECT len(string_split(repeat('a,', 200000000), ','))",
]
"""Each is one call of a function that takes many seconds and does not look up."""


def test_there_are_probes_enough():
    assert len(PROBES) >= 50 and len(set(PROBES)) == len(PROBES)


@pytest.mark.parametrize("probe", PROBES)
def test_the_way_is_closed(runs, folder, probe):
    before = set(folder.rglob("*"))
    with pytest.raises(QueryFailed) as refused:
        runs.ask(probe.replace("{folder}", str(folder)), seconds=1.0)
    assert "\n" not in str(refused.value) and len(str(refused.value)) > 5
    assert "secret\n" not in str(refused.value)
    assert set(folder.rglob("*")) == before


@pytest.mark.parametrize("probe", some(EXHAUSTION, 4))
def test_what_would_take_everything_is_stopped(folder, probe):
    began = time.monotonic()
    with pytest.raises(QueryFailed) as refused:
        ask(folder / "runs", probe, seconds=0.5)
    assert "\n" not in str(refused.value) and "ask for less" in str(refused.value)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("probe", some(IGNORE_INTERRUPTION, 6))
def test_what_ignores_an_interruption_is_ended_when_its_time_is_over(folder, probe):
    began = time.monotonic()
    with pytest.raises(QueryFailed, match=r"stopped after 0\.5 s; ask for less"):
        ask(folder / "runs", probe, seconds=0.5)
    assert time.monotonic() - began < 10  # the start takes one or two


@pytest.mark.parametrize("value", ["repeat('x', 1000000)", "list_transform(range(10000), lambda x: {'a': true})"])
def test_an_answer_is_cut_at_16_mb_in_memory(folder, value):
    answer = ask(folder / "runs", f"SELECT {value} AS value FROM range(100)", seconds=30.0)
    assert 3 <= len(answer.rows) <= 16 and answer.cut and answer.full


def test_a_map_is_measured_by_its_own_pairs(runs):
    answer = runs.ask("SELECT MAP {i: {'a': i}} AS value FROM range(1000) t(i)")
    assert len(answer.rows) == 1000 and not answer.cut
    answer = runs.ask("SELECT map_from_entries([(j, true) FOR j IN range(10000)]) AS value FROM range(100) t(i)")
    assert 3 <= len(answer.rows) <= 16 and answer.full


def test_a_row_that_is_an_answer_too_large_is_refused(folder):
    with pytest.raises(QueryFailed, match=r"one row of the answer takes more than the 16 MB.*; ask for less"):
        ask(folder / "runs", "SELECT repeat('x', 100000000)", seconds=30.0)


@pytest.mark.parametrize("probe", ["SELECT error(repeat('x', 30000000))", "SELECT repeat('x', 30000000)::INTEGER"])
def test_an_error_is_told_in_a_line_that_can_be_shown(folder, probe):
    with pytest.raises(QueryFailed) as refused:
        ask(folder / "runs", probe, seconds=30.0)
    assert "xxx" in str(refused.value) and len(str(refused.value)) < 1100


@pytest.fixture
def slow_start(tmp_path, monkeypatch):
    """Python takes 4 s longer to start."""
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(4)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))


def test_a_slow_start_does_not_count(folder, slow_start):
    answer = ask(folder / "runs", "SELECT count(*) AS n FROM runs", seconds=1.0)
    assert answer.rows.n[0] == 1 and answer.seconds < 1


def test_a_start_that_takes_too_long_is_told_apart(folder, slow_start):
    with pytest.raises(QueryFailed, match="opening the runs took more than 1 s, so nothing was asked"):
        ask(folder / "runs", "SELECT 1", seconds=10.0, opening=1.0)


def test_a_process_of_its_own_answers_too(folder):
    answer = ask(folder / "runs", "SELECT step, k FROM lambda_k WHERE verdict = 'all' ORDER BY ALL", rows=4)
    assert answer.rows.to_dict("list") == {"step": [1, 1, 1, 1], "k": [1, 2, 3, 4]} and answer.cut
    with pytest.raises(QueryFailed, match="nonsense"):
        ask(folder / "runs", "SELECT * FROM nonsense")


@pytest.mark.parametrize(
    "question",
    [
        "SELECT getenv('PATH') AS a",
        "SELECT current_setting('s3_secret_access_key') AS a",
        "SELECT secret_string AS a FROM duckdb_secrets()",
        "SELECT path AS a FROM duckdb_databases()",
    ],
)
def test_nothing_is_told_of_the_process(runs, question):
    try:
        answer = runs.ask(question).rows
    except QueryFailed:
        return
    assert not [value for value in answer.a.dropna() if value]


def test_a_large_answer_is_cut_without_being_made(runs):
    answer = runs.ask("SELECT i FROM range(10000000000) t(i)", rows=10)
    assert list(answer.rows.i) == list(range(10)) and answer.cut and answer.seconds < 5


def test_questions_are_answered(runs, folder):
    answer = runs.ask(
        "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all' AND k = $k ORDER BY step", parameters={"k": 1}
    )
    assert list(answer.rows.step) == [1, 2, 3] and not answer.cut
    texts = runs.ask("SELECT count(*) AS n, count(text) AS texts, count(logp_5) AS ranked FROM tokens").rows
    assert texts.n[0] == texts.texts[0] == texts.ranked[0] > 0
    with pytest.raises(QueryFailed, match="lambdak"):
        runs.ask("SELECT * FROM lambdak")


@pytest.mark.parametrize("question", ["SELECT text, count(*) AS n FROM tokens GROUP BY text", "FROM token_push"])
def test_the_tokens_are_streamed_past_what_they_are_joined_with(runs, question):
    """And not kept: a RIGHT join holds the rows of its left side, here all tokens, in memory."""
    plan = runs._connection.execute(f"EXPLAIN {question}").fetchall()[0][1]
    assert "LEFT" in plan and "RIGHT" not in plan


def test_damaged_and_missing_files_are_told_and_the_rest_answered(folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    write_demonstration_run(tmp_path / "runs", name="torn", steps=2, responses=8)
    victim = next((tmp_path / "runs" / "torn" / "tokens").glob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-9])
    runs = LockedRuns(tmp_path / "runs")
    assert len(runs.problems) == 1 and str(victim) in runs.problems[0]
    assert runs.ask("SELECT DISTINCT run FROM tokens").rows.run.tolist() == ["shown"]


def test_an_empty_folder_gives_empty_views(tmp_path):
    assert len(LockedRuns(tmp_path).ask("SELECT * FROM lambda_k").rows) == 0
