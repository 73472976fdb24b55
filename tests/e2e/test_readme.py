"""The README's commands do what they are there for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import duckdb
import pytest
from simko.cli.simko import main

README = (Path(__file__).parents[2] / "README.md").read_text()
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line.strip()]
QUERIES = [shlex.split(line, comments=True) for line in SHELL if line.startswith("simko query")]
PLAIN = [shlex.split(line)[2] for line in SHELL if line.startswith("duckdb -c")]


def test_there_are_queries_to_check():
    assert len(QUERIES) >= 4
    assert len(PLAIN) == 1


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q[2][:60])
def test_queries_give_rows(query, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    assert main([*query[1:], "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 1


@pytest.mark.parametrize("sql", PLAIN)
def test_the_parquet_opens_without_us(sql, trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    rows = duckdb.sql(sql).fetchall()
    assert [row[0] for row in rows] == list(range(1, 9))
    assert all(row[1] < 0 for row in rows)


def test_it_names_the_two_commands_and_files_that_exist():
    root = Path(__file__).parents[2]
    assert "make demo" in SHELL[0]
    assert "make test" in SHELL[1]
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / target).exists(), target
