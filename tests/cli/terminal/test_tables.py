"""Tables fit the terminal: digits first, then wrapped text, then whole columns, which are named."""

from __future__ import annotations

import pytest
from effort import some
from rich.cells import cell_len
from simko.cli.terminal.tables import Column, Table, number, significant
from terminals import in_pipe, on_terminal


def example():
    table = Table(
        Column("run"), Column("Λ(1)", numeric=True), Column("words", wraps=True), Column("begun", importance=-1)
    )
    table.add("first", number(-0.15634, 3), "one two three four five six seven", "2026-01-01 00:00")
    table.add("漢字", number(None, 3), "eight", None)
    return table


def test_without_a_width_everything_is_there():
    assert example().lines(None) == [
        "run      Λ(1)  words                              begun",
        "first  -0.156  one two three four five six seven  2026-01-01 00:00",
        "漢字           eight",
    ]


def test_digits_go_first_then_text_wraps_then_columns_are_left_out():
    widest = max(map(cell_len, example().lines(None)))
    assert example().lines(widest) == example().lines(None)
    narrower = example().lines(widest - 1)
    assert narrower[1].startswith("first  -0.16  one two three four five six seven  2026")
    wrapped = example().lines(widest - 8)
    assert [line.split("  ")[-1].strip() for line in wrapped[1:3]] != ["", ""] and len(wrapped) == 4
    assert "2026-01-01 00:00" in wrapped[1] and "seven" in wrapped[2]
    short = example().lines(34, hint="--all shows them")
    assert short[-1] == "3 of 4 columns; not shown: begun; --all shows them"
    assert all(cell_len(line) <= 34 for line in short[:-1])


def test_the_first_column_stays_whole_whatever_the_width():
    assert example().lines(3)[:3] == ["run", "first", "漢字"]
    assert example().lines(3)[3] == "1 of 4 columns; not shown: Λ(1), words, begun"


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        (number(0.28491, 3), ["0.285", "0.28", "0.28"]),
        (number(0.28491, 3, sign="+", least=1), ["+0.285", "+0.28", "+0.3"]),
        (number(40, 0), ["40", "40", "40"]),
        (number(0.5, 3, after=" @8"), ["0.500 @8", "0.50 @8", "0.50 @8"]),
        (significant(123456.789), ["1.2346e+05", "1.235e+05", "1.23e+05"]),
    ],
)
def test_numbers_with_fewer_digits(cell, texts):
    assert [cell(fewer) for fewer in range(3)] == texts


def test_numbers_that_are_none_are_empty():
    assert number(None, 3) == number(float("nan"), 3) == ""


def test_text_steers_no_terminal():
    table = Table(Column("a\x1b[2J"))
    table.add("b\x1b[0m")
    assert table.lines(None) == ["a\\x1b[2J", "b\\x1b[0m"]


COMMANDS = [["ls"], ["show", "grpo-short"], ["diff", "grpo-short", "simko-short"], ["query", "overview"]]


@pytest.mark.parametrize(
    ("arguments", "columns"), some([(arguments, columns) for columns in (100, 60) for arguments in COMMANDS], 3)
)
def test_tables_fit_the_terminal_and_names_stay_whole(arguments, columns, home):
    code, lines = on_terminal(*arguments, columns=columns, cwd=home, NO_COLOR="1")
    assert code == 0
    table = [line for line in lines if line.startswith(("run ", "grpo-short ", "simko-short ", "pass@", "Λ("))]
    table = [line for line in table if ":" not in line[:40]]  # words below the table
    assert table and all(cell_len(line) <= columns for line in table)
    assert "grpo-short" in "".join(lines)
    code, everything = on_terminal(*arguments, "--all", columns=columns, cwd=home, NO_COLOR="1")
    assert code == 0 and not any("not shown" in line for line in everything)


def test_what_is_left_out_is_named_and_all_brings_it_back(home):
    _, lines = on_terminal("ls", columns=60, cwd=home)
    note = next(line for line in lines if "not shown" in line)
    shown, total = (int(word) for word in note.split()[:3:2])
    missing = note.partition("not shown: ")[2].partition(";")[0].split(", ")
    assert note.endswith("; --all shows every column") and total - shown == len(missing)
    _, lines = on_terminal("ls", "--all", columns=60, cwd=home)
    assert all(name in lines[0] for name in missing)


def test_styles_are_for_terminals_that_have_them(home):
    assert "\x1b[1m" in on_terminal("ls", columns=100, cwd=home, TERM="xterm")[1][0]
    for settings in ({"TERM": "dumb"}, {"NO_COLOR": "1", "TERM": "xterm"}):
        assert "\x1b" not in "".join(on_terminal("ls", columns=100, cwd=home, **settings)[1])


def test_a_pipe_gets_every_column(home):
    out = in_pipe("query", "overview", cwd=home, COLUMNS="20").stdout
    assert "created" in out.splitlines()[0] and "not shown" not in out
