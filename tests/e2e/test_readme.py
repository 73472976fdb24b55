"""The README's commands do what they are there for."""

from __future__ import annotations

import re
import shlex
from math import log
from pathlib import Path

import duckdb
import pytest
from simko.cli.simko import COMMANDS, main
from simko.trainers.options.layers import known_names
from simko.trainers.options.methods import METHODS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line.strip()]
QUERIES = [shlex.split(line, comments=True) for line in SHELL if line.startswith("simko query")]
PLAIN = [shlex.split(line, comments=True)[1:] for line in SHELL if line.startswith("simko files")]


def test_there_are_queries_to_check():
    assert len(QUERIES) >= 4
    assert len(PLAIN) == 1


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q[2][:60])
def test_queries_give_rows(query, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    assert main([*query[1:], *([] if "--list" in query else ["--format", "csv"])]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 1


@pytest.mark.parametrize("command", PLAIN)
def test_the_parquet_opens_without_us(command, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    assert main(command) == 0
    rows = f"({capsys.readouterr().out.strip().rstrip(';')})"
    rows = duckdb.sql(f"SELECT step, avg(logp_1) FROM {rows} GROUP BY step ORDER BY step").fetchall()
    assert [row[0] for row in rows] == list(range(1, 9))
    assert all(row[1] < 0 for row in rows)


def test_it_names_the_two_commands_and_files_that_exist():
    assert "make demo" in SHELL[0]
    assert "make test" in SHELL[1]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert {"demo", "test"} <= set(targets)
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_and_option_it_names_is_there():
    code = "\n".join([*SHELL, *re.findall(r"`([^`\n]+)`", README)])
    commands = set(re.findall(r"(?<![\w/.-])simko ([a-z]+)", code))
    assert {"query", "study", "report", "doctor"} <= commands <= set(COMMANDS)
    training = [line for line in SHELL if line.startswith(("simko-train", "accelerate"))]
    options = {option for line in training for option in re.findall(r"--(\w+)", line)} - {"config", "num_processes"}
    options |= set(re.findall(r"--(\w+_\w+|method)\b", README)) - {"num_processes"}
    assert options <= known_names()


def test_the_methods_it_recommends_are_there():
    advice = README[README.index("**What to try.**") : README.index("Every method with its options")]
    named = set(re.findall(r"`(?:--method )?([a-z_]+)`", advice))
    assert {"simko", "nsr", "w_reinforce", "passk_training"} <= named <= set(METHODS)
    assert len(METHODS) == 16  # GRPO, SimKO and fourteen others


def test_two_distributions_of_one_entropy_are_what_it_says():
    assert -2 * 0.5 * log(0.5) == pytest.approx(0.69, abs=0.005)
    assert -(0.81 * log(0.81) + 3 * 0.0633 * log(0.0633)) == pytest.approx(0.69, abs=0.006)
