from __future__ import annotations

import pytest
from antlr4.atn.PredictionMode import PredictionMode
from latex2sympy2_extended import latex2sympy2
from simko.trainers.tasks.graders.two_stage_parser import read_in_two_stages

CREATE = latex2sympy2._Latex2Sympy.create_parser
READ_BY_THE_CHEAP_PREDICTION = [
    r"\frac{1}{2}",
    "(2,5)",
    r"1 + 2\sqrt{3}",
    r"(-\infty, 2) \cup [3, \infty)",
    r"x \in [-2,7]",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    "1, 2, 3",
    r"\sin x \cos y",
    "y = 2x + 3",
    "2^{n-1}",
]
READ_BY_THE_FULL_ONE_ALONE = ["3R^2", r"15\mbox{ cm}^2"]
NO_FORMULA = [r"\frac{1}{", "1 + + )", "(1,2"]


@pytest.fixture
def converter(monkeypatch):
    monkeypatch.setattr(latex2sympy2._Latex2Sympy, "create_parser", getattr(CREATE, "full", CREATE))
    read_in_two_stages()
    return latex2sympy2._Latex2Sympy()


def tree(parser) -> str | None:
    try:
        return parser.math().toStringTree(recog=parser)
    except Exception:
        return None


def full(converter, text: str) -> str | None:
    return tree(latex2sympy2._Latex2Sympy.create_parser.full(converter, text))


def cheap(converter, text: str) -> str | None:
    parser = latex2sympy2._Latex2Sympy.create_parser.full(converter, text)
    parser._interp.predictionMode = PredictionMode.SLL
    return tree(parser)


@pytest.mark.parametrize("text", READ_BY_THE_CHEAP_PREDICTION + READ_BY_THE_FULL_ONE_ALONE)
def test_formulas_have_the_tree_of_the_full_prediction(converter, text):
    expected = full(converter, text)
    assert expected is not None
    assert tree(converter.create_parser(text)) == expected
    assert cheap(converter, text) == (None if text in READ_BY_THE_FULL_ONE_ALONE else expected)


@pytest.mark.parametrize("text", NO_FORMULA)
def test_what_is_no_formula_fails_as_it_did(converter, text):
    with pytest.raises(Exception) as failed:
        latex2sympy2._Latex2Sympy.create_parser.full(converter, text).math()
    with pytest.raises(type(failed.value)) as again:
        converter.create_parser(text).math()
    assert str(again.value) == str(failed.value)


def test_asked_twice_it_is_done_once(converter):
    once = latex2sympy2._Latex2Sympy.create_parser
    read_in_two_stages()
    assert latex2sympy2._Latex2Sympy.create_parser is once


def test_another_inside_of_the_library_stays_as_it_is(monkeypatch):
    monkeypatch.delattr(latex2sympy2, "_Latex2Sympy")
    read_in_two_stages()
