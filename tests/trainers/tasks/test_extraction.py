"""What is read out of responses, against Python's own parsers."""

from __future__ import annotations

import ast
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from puzzles import CASES
from simko.trainers.tasks.synlogic import extraction, judge_json, problem_of
from simko.trainers.tasks.synlogic.expressions import number, postfix, value_of


def same(first, second):
    return repr(first) == repr(second)


NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False))
WORDS = st.text(alphabet="aé→ [,'\"#", max_size=4)
ATOMS = st.one_of(NUMBERS, WORDS, st.booleans(), st.none())
CONTAINERS = (st.lists, lambda inner, max_size: st.lists(inner, max_size=max_size).map(tuple))
PAIRS = st.dictionaries(WORDS, ATOMS, max_size=2)
ROWS = st.one_of(*(kind(ATOMS, max_size=3) for kind in CONTAINERS), PAIRS)
VALUES = st.one_of(ATOMS, *(kind(st.one_of(ATOMS, ROWS), max_size=3) for kind in CONTAINERS))


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_a_literal_is_read_as_python_reads_it(value):
    assert same(extraction.literal(repr(value)), value)


@given(st.text(alphabet="[](){},:'\"1-.# \nNone", max_size=12))
@settings(max_examples=200, deadline=None)
def test_what_python_refuses_is_not_read(text):
    found = extraction.literal(text)
    if found is not None:
        assert same(found, ast.literal_eval(text.strip()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2,]", [1, 2]), ("((1,), ())", ((1,), ())), ("1, 2", (1, 2)), ("{'a': [(1, 2)]}", {"a": [(1, 2)]}),
        ("[1, # one\n 2]", [1, 2]), ("(1)", 1), ("[- 1, +2]", [-1, 2]), ("[-1.5e3]", [-1500.0]),
        (r"['a\'b', 'c\n', '\u0041']", ["a'b", "c\n", "A"]),
        ("[1 2]", None), ("[01]", None), ("[1", None), ("1]", None), ("[1)", None), ("{1}", None), ("{1: 2, 3}", None),
        ("[,]", None), ("[1,,2]", None), ("{'a':}", None), ("[x]", None), ("[[[[[[[[[[1]]]]]]]]]]", None), ("", None),
        ("[" + "9" * 31 + "]", None), ("[1]" + " " * 20_000, None), ("['a' 'b']", None),
        ("[1_0]", None), ("[{[1]: 2}]", None),
    ],
)  # fmt: skip
def test_literals(text, value):
    assert same(extraction.literal(text), value)


EXPRESSIONS = st.recursive(
    st.integers(0, 12).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%", " - ", "*-"]), inner).map("".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
@settings(max_examples=150, deadline=None)
def test_expressions_have_python_s_precedence_and_exact_values(text):
    try:
        expected = eval(re.sub(r"\d+", r"Fraction(\g<0>)", text), {"Fraction": Fraction})
    except ZeroDivisionError:
        expected = None
    expression = postfix(text)
    assert expression is not None
    assert value_of(expression) == expected
    assert postfix(f"(({text}))") == expression


@given(st.text(alphabet="12+-*/%() \n0.", max_size=9))
@settings(max_examples=150, deadline=None)
def test_no_more_is_an_expression_than_in_python(text):
    expression = postfix(text)
    if expression is not None:
        compile(text.strip(), "expression", "eval")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", "1/2"), (r"\frac{1}{2}", "1/2"), (r"-\dfrac{1}{2}", "-1/2"), ("$-3/4$", "-3/4"),
        ("x = 2.", "2"), ("1,234", "1234"),
        (r"50\%", "1/2"), (r"\text{7}", "7"), ("1/0", None), ("", None), ("a", None), ("9" * 500, None), ("2^3", None),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert number(text) == (None if value is None else Fraction(value))


@pytest.mark.parametrize(
    ("text", "last", "flat", "every"),
    [
        (r"\boxed{a} \boxed{b{c}}", "b{c}", "b{c", ["a", "b{c}"]),
        (r"\boxed{a} \boxed{b", None, None, ["a"]),
        (r"\boxed{}", "", "", [""]),
        ("none", None, None, []),
    ],
)
def test_boxes(text, last, flat, every):
    assert (extraction.last_box(text), extraction.flat_box(text), extraction.boxes(text)) == (last, flat, every)


MARKS = (
    "[[",
    "]]",
    "```",
    "```python\n",
    "\\boxed{",
    "}",
    "(",
    ")",
    ",",
    "1",
    "2",
    "X",
    '"',
    "A",
    " ",
    "\n",
    "→",
    "**",
    "=",
    "no",
)


@given(st.sampled_from(sorted(CASES)), st.data())
@settings(max_examples=250, deadline=None)
def test_no_response_raises(task, data):
    """Pieces of right answers in any order, with marks between them."""
    case = CASES[task]
    pieces = [piece for text in (*case.right, *case.wrong) for piece in re.split(r"(\W)", text)]
    text = "".join(data.draw(st.lists(st.sampled_from([*pieces, *MARKS]), max_size=30)))
    assert judge_json(text, problem_of(case.row(task))[1]).verdict in ("right", "wrong")
