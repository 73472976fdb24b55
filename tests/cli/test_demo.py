"""`simko demo` writes runs that everything else can read, and says what to type next."""

import pytest
import simko.store
from simko.cli.simko import main


def test_two_small_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--steps", "4"]) == 0
    assert "simko query" in capsys.readouterr().out
    with simko.store.open("runs") as connection:
        result = connection.execute("SELECT run, method, status, last_step FROM runs ORDER BY run").fetchall()
    assert result == [("demo-grpo", "grpo", "finished", 4), ("demo-simko", "simko", "finished", 4)]


def test_a_run_of_any_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["demo", "--tokens", "2.5k", "--steps", "3", "--name", "large", "--probe_k", "8"]
    assert main(arguments) == 0
    with simko.store.open("runs/large") as connection:
        assert connection.execute("SELECT count(*), max(step), count(logp_8) FROM tokens").fetchall() == [
            (2500, 3, 2500)
        ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", "many"], "'many' is no number"),
        (["--tokens", "0"], "'0' is no number"),
        (["--probe_k", "18"], "17 candidates"),
        (["--tokens", "1k", "--probe_k", "65"], "64 candidates"),
        (["--name", "../there"], "invalid run name"),
        (["--token", "3"], "unknown option --token; did you mean --tokens?"),
        (["--steps", "0"], "'0' is no number above 0"),
        (["--seed", "-1"], "'-1' is no seed"),
        (["--seed", "1.5"], "'1.5' is no seed"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *arguments]) == 2
    output = capsys.readouterr().err
    assert message in output and output.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_there_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--tokens", "1k", "--steps", "1"]) == 0
    assert main(["demo", "--tokens", "1k", "--steps", "1"]) == 2
    assert "runs/demo already holds a run; give another --name" in capsys.readouterr().err
