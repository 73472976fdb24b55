"""The page of SQL: what it shows of an answer, and what it says where there is none."""

from __future__ import annotations

import sys

import pytest
from streamlit.testing.v1 import AppTest


def _script() -> None:
    from simko.dashboard.pages.console import show

    show()


@pytest.fixture
def asked(monkeypatch, runs):
    """Ask a question on the page."""

    def ask(sql: str) -> AppTest:
        monkeypatch.setenv("SIMKO_RUNS", str(runs))
        monkeypatch.setattr(sys, "argv", ["app.py"])
        app = AppTest.from_function(_script, default_timeout=60).run()
        app.text_area[0].set_value(sql)
        app.button[0].click().run()
        assert not app.exception, app.exception[0].stack_trace
        return app

    return ask


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT 1 AS a", "1 rows, "),
        ("SELECT i FROM range(2000) t(i)", "the first 1000 rows, "),
        ("SELECT repeat('x', 1000000) AS text FROM range(100)", "the first 15 rows, all that 16 MB hold, "),
    ],
)
def test_it_says_how_much_of_the_answer_it_shows(asked, sql, words):
    app = asked(sql)
    assert not app.error
    assert app.caption[-1].value.startswith(words)


def test_columns_of_one_name_are_told_apart(asked):
    app = asked("SELECT 1 AS a, 2 AS a_1, 3 AS a, 4 AS a")
    assert app.dataframe[0].value.to_dict("records") == [{"a": 1, "a_1": 2, "a_2": 3, "a_3": 4}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(i) AS s, NULL AS n, DATE '0001-01-01' AS d, INTERVAL 1 DAY AS i, TIME '12:00' AS t, "
        "TIMESTAMP '290000-01-01' AS far, uuid() AS u, 'x'::BLOB AS b, 1.5::DECIMAL(38, 10) AS dec FROM range(10) t(i)",
        "SELECT [1, NULL] AS l, [{'a': [1]}] AS ls, {'a': {'b': 'x'}} AS s, MAP {'a': 1} AS m, [['a'], NULL] AS ll",
        "SELECT union_value(a := 1) AS u",
        "SELECT 'a'::ENUM('a', 'b') AS e, '101'::BIT AS bits, 170141183460469231731687303715884105727::HUGEINT AS h",
    ],
)
def test_every_type_is_shown_or_refused_in_a_line(asked, sql):
    app = asked(sql)
    assert len(app.dataframe) + len(app.error) == 1
    assert all("\n" not in error.value for error in app.error)
