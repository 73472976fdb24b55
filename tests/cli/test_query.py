"""`simko query`: four formats, a file or stdout, and mistakes in one line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from simko.cli.simko import COMMANDS, main
from simko.store.demo.small_run import write_demonstration_run
from simko.store.writing.row_sampling import LoggedRows

LAMBDA = "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all' AND k <= 2 ORDER BY step, k"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_demonstration_run(folder, name="shown", method="grpo", steps=3, responses=16)
    return folder


def ask(runs, *arguments):
    return main(["query", *arguments, "--runs", str(runs)])


def test_csv_and_json_hold_the_same_rows(runs, capsys):
    assert ask(runs, LAMBDA, "--format", "csv") == 0
    from_csv = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert ask(runs, LAMBDA, "--format", "json") == 0
    from_json = json.loads(capsys.readouterr().out)
    assert len(from_csv) == len(from_json) == 6
    for a, b in zip(from_csv, from_json, strict=True):
        assert (int(a["step"]), int(a["k"]), float(a["lambda_k"])) == (b["step"], b["k"], pytest.approx(b["lambda_k"]))


def test_integers_with_nulls_stay_integers(runs, capsys):
    assert ask(runs, "SELECT n FROM (VALUES (1), (NULL)) t(n)", "--format", "csv") == 0
    assert capsys.readouterr().out == 'n\n1\n""\n'


def test_parquet_to_a_file_and_to_a_pipe(runs, tmp_path, capfdbinary):
    target = tmp_path / "answer.parquet"
    assert ask(runs, LAMBDA, "--format", "parquet", "--output", str(target)) == 0
    assert pq.read_table(target).num_rows == 6
    command = [sys.executable, "-m", "simko.cli.simko", "query", LAMBDA, "--runs", str(runs), "--format", "parquet"]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    assert pq.read_table(io.BytesIO(piped)).equals(pq.read_table(target))


def test_sampled_token_rows_are_told_where_they_are_read(tmp_path, capsys):
    rows = LoggedRows(responses=0.5)
    write_demonstration_run(tmp_path, name="half", steps=3, responses=16, rows=rows)
    assert ask(tmp_path, "SELECT count(*) AS n FROM tokens", "--format", "csv") == 0
    output = capsys.readouterr()
    assert output.err == "simko query: note: half holds token rows of 1 in 2 responses; roll-ups count every token\n"
    assert output.out.startswith("n\n")
    assert ask(tmp_path, LAMBDA, "--format", "csv") == 0
    assert capsys.readouterr().err == ""


def test_a_table_shows_every_cell_in_a_pipe(runs, capsys):
    assert ask(runs, "SELECT run, path, n_tokens FROM runs") == 0
    out = capsys.readouterr().out
    assert str(runs / "shown") in out
    assert "…" not in out


def test_markup_in_data_is_shown_not_obeyed(runs, capsys):
    assert ask(runs, "SELECT '[red]x[/red]' AS text") == 0
    assert "[red]x[/red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SELECT * FROM lambdak"], "did you mean lambda_k?"),
        (["SELECT * FROM nonsense"], "the views are"),
        (["SELECT lamda_k FROM lambda_k"], "lambda_k"),
        (["SELEC 1"], "syntax error"),
        ([""], "one statement, not 0"),
        (["SELECT 1; SELECT 2"], "one statement, not 2"),
        (["DROP VIEW runs"], "only SELECT"),
        (["COPY (SELECT 1) TO 'x.csv'"], "only SELECT"),
        (["SELECT 1", "--format", "xml"], "no --format xml; there are: table, csv"),
        (["SELECT 1", "--format", "csv", "--output", "/proc/nowhere/x.csv"], "cannot write /proc/nowhere/x.csv"),
        ([], "give a query"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(runs, arguments, message, capsys):
    assert ask(runs, *arguments) == 2
    output = capsys.readouterr().err
    assert message in output
    assert output.startswith("simko query: ")
    assert output.count("\n") == 1


def test_an_empty_folder_is_no_error(tmp_path, capsys):
    assert ask(tmp_path, LAMBDA, "--format", "csv") == 0
    output = capsys.readouterr()
    assert output.out.strip() == "step,k,lambda_k"
    assert "simko-train --probe" in output.err


def test_a_missing_folder_is_an_error(tmp_path, capsys):
    assert ask(tmp_path / "nothing", LAMBDA) == 2
    assert "no folder" in capsys.readouterr().err


def test_a_damaged_part_is_warned_about_and_the_rest_answered(runs, tmp_path, capsys):
    write_demonstration_run(tmp_path, name="torn", steps=3, responses=16, flush_seconds=0)
    victim = sorted((tmp_path / "torn" / "tokens").glob("*.parquet"))[0]
    victim.write_bytes(victim.read_bytes()[:-5])
    assert ask(tmp_path, "SELECT count(DISTINCT step) AS n FROM tokens", "--format", "csv") == 0
    output = capsys.readouterr()
    assert int(output.out.split()[1]) < 3
    assert f"warning: {victim}: torn" in output.err


def test_the_dispatcher_lists_its_commands_and_knows_no_others(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    assert main(["quary"]) == 2
    assert "query" in capsys.readouterr().err


def test_queries_by_name(runs, capsys):
    assert ask(runs, "--list") == 0
    listed = capsys.readouterr().out
    assert "top-forking-tokens" in listed and "lambda-by-verdict" in listed
    assert ask(runs, "top-forking-tokens", "--show") == 0
    assert "-- $limit = 20" in capsys.readouterr().out
    assert ask(runs, "top-forking-tokens", "--set", "limit=3", "--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_sql_from_a_file_and_from_standard_input(runs, tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.sql").write_text("SELECT count(*) AS n FROM runs WHERE method = $method")
    question = [str(tmp_path / "mine.sql"), "--set", "method=grpo", "--format", "csv"]
    assert ask(runs, *question) == 0
    assert capsys.readouterr().out.split() == ["n", "1"]
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 2 AS two"))
    assert ask(runs, "-", "--format", "csv") == 0
    assert capsys.readouterr().out.split() == ["two", "2"]


def test_an_arrow_stream(runs, tmp_path):
    import pyarrow as pa

    target = tmp_path / "answer.arrows"
    assert ask(runs, LAMBDA, "--format", "arrow", "--output", str(target)) == 0
    with pa.ipc.open_stream(target) as stream:
        assert stream.read_all().column("k").to_pylist() == [1, 2] * 3


def test_a_large_answer_is_streamed(runs, tmp_path):
    target = tmp_path / "many.csv"
    measured = (
        "import sys; from simko.cli.simko import main; code = main(sys.argv[1:]);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]); sys.exit(code)"
    )
    peaks = []
    for rows in (1_000, 2_000_000):
        sql = f"SELECT i, 'text ' || i AS t FROM range({rows}) r(i)"
        arguments = ["query", sql, "--runs", str(runs), "--format", "parquet", "--output", str(target)]
        done = subprocess.run([sys.executable, "-c", measured, *arguments], capture_output=True, check=True, text=True)
        peaks.append(int(done.stdout) / 1024)
    assert pq.read_metadata(target).num_rows == 2_000_000
    assert peaks[1] - peaks[0] < 100  # MB; the answer has 60


def test_a_failing_answer_leaves_no_half_file(runs, tmp_path, capsys):
    target = tmp_path / "answer.csv"
    sql = "SELECT CASE WHEN i > 500000 THEN error('late') ELSE i END AS i FROM range(600000) r(i)"
    assert ask(runs, sql, "--format", "csv", "--output", str(target)) == 2
    assert "late" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_text_that_steers_terminals_is_shown_not_sent(runs, capsys):
    assert ask(runs, r"SELECT E'\x1b]0;owned\x07' || chr(8238) || 'ende' AS text") == 0
    out = capsys.readouterr().out
    assert r"\x1b]0;owned\x07\u202eende" in out and "\x1b" not in out


def test_a_long_table_says_that_it_is_cut(runs, capsys):
    assert ask(runs, "SELECT * FROM range(1500)") == 0
    out = capsys.readouterr().out
    assert "the first 1000 rows" in out and "999" in out and "1001" not in out


def test_watching_tells_each_answer_once(tmp_path):
    write_demonstration_run(tmp_path, name="first", steps=2, responses=8)
    arguments = [
        "query",
        "SELECT count(*) AS n FROM runs",
        "--runs",
        str(tmp_path),
        "--format",
        "csv",
        "--watch",
        "0.1",
    ]
    watcher = subprocess.Popen([sys.executable, "-m", "simko.cli.simko", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert [watcher.stdout.readline() for _ in range(2)] == ["n\n", "1\n"]
        write_demonstration_run(tmp_path, name="second", steps=2, responses=8)
        assert [watcher.stdout.readline() for _ in range(2)] == ["n\n", "2\n"]
    finally:
        watcher.kill()
        watcher.communicate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forking-tokens"], "did you mean top-forking-tokens"),
        (["top-forking-tokens", "--set", "limit"], "NAME=VALUE"),
        (["top-forking-tokens", "--set", "rows=3"], "it has: limit"),
        (["SELECT $x"], "give it with --set x=VALUE"),
        (["missing.sql"], "cannot read missing.sql"),
        (["SELECT 1", "--watch", "0"], "above 0"),
        (["SELECT 1", "--watch", "1", "--format", "arrow"], "shows a table, csv or json"),
    ],
)
def test_more_mistakes(runs, arguments, message, capsys):
    assert ask(runs, *arguments) == 2
    output = capsys.readouterr().err
    assert message in output and output.count("\n") == 1
