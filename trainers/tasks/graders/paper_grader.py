r"""A second grader of math answers, by the rules that the authors of SimKO train and evaluate with.

The answer is the last `\boxed{…}`, else what follows "he answer is", else the last number. After a normaliser of texts
two answers are equal when their texts are; when both are numbers within a relative 1e-4, the reference also taken a
hundred times larger or smaller (per cent); when both are tuples, intervals or matrices whose elements are equal; when
both are equations whose sides differ by the same; or when the difference of both formulas simplifies to 0. Words and
units are dropped, `x = ` in front is too. What cannot be read or takes too long is wrong: there is no third verdict.

It is looser than math-verify here (units, per cent, brackets) and stricter there (names, bases, unread formulas), so
where the two disagree a person should look. Formulas are read by a parser of LaTeX alone: nothing is evaluated as code.

Source: arXiv 2510.14807, appendix E; the rules are those of its public code, the words and the code here our own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from .algebra import clearly_differ
from .boxed import last_boxed

Parse = Callable[[str], Any]
"""From a text to the formula it is, or None."""
RELATIVE = 1e-4
"""Relative difference up to which two numbers are one answer."""
_NUMBER = re.compile(r"-?\d*\.?\d+")
_WORDS = re.compile(r"\\(?:text|mbox|mathrm|textbf|textit|operatorname)\s*\{([^{}]*)\}")
_UNIT = re.compile(r"(?<=[\d}])\s*\\(?:text|mbox|mathrm)\s*\{[^{}]*\}(?:\^\{?\d\}?)?\s*$")
_REMOVED = re.compile(r"\\(?:left|right)(?![a-z])|\\[!,;:% ]|\\?\$|%|\^\{?\\circ\}?|°|\s")
_SHORT_FRACTION = re.compile(r"\\frac(\d)(\d)(?!\d)")
_SLASHED = re.compile(r"(-?)(\d+)/(\d+)")
_MATRIX = re.compile(r"\\begin\{[pb]matrix\}(.*)\\end\{[pb]matrix\}", re.DOTALL)
_ENCLOSED = re.compile(r"[(\[].+[)\]]", re.DOTALL)


def found(text: str) -> str:
    """The answer of a response, unchanged; empty where there is none."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    _, marker, after = text.rpartition("he answer is")
    if marker:
        return after.split("\n")[0].strip().rstrip(".")
    numbers = _NUMBER.findall(text[-4000:].replace(",", ""))
    return numbers[-1] if numbers else ""


def judge(text: str, gold: str, parse: Parse) -> str:
    """`right` or `wrong`.

    Args:
        text: the response.
        gold: the reference answer.
        parse: reads a formula; takes the time it takes, the caller has the clock.
    """
    answer = found(text)
    if not answer:
        return "wrong"
    if normalised(answer) != normalised(gold) and not equal(answer, gold, parse):
        return "wrong"
    return "right"


def normalised(text: str) -> str:
    """One spelling of an answer: no spaces, units, words around it or signs of money, degree and per cent."""
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").strip().rstrip(".")
    text = _REMOVED.sub("", _WORDS.sub(r"\1", _UNIT.sub("", text)))
    head, equals, tail = text.partition("=")
    if equals and len(head) <= 2 and "=" not in tail:
        text = tail
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text)
    slashed = _SLASHED.fullmatch(text)
    if slashed:
        text = "{}\\frac{{{}}}{{{}}}".format(*slashed.groups())
    return "0" + text if text.startswith(".") else text


def equal(answer: str, gold: str, parse: Parse) -> bool:
    """Whether two answers are equal by the rules above; may raise what `parse` raises."""
    ours, theirs = normalised(answer), normalised(gold)
    if not ours or not theirs:
        return False
    if ours.lower() == theirs.lower():
        return True
    numbers = _number(ours), _number(theirs)
    if numbers[0] is not None and numbers[1] is not None:
        return any(
            math.isclose(numbers[0], reference, rel_tol=RELATIVE)
            for reference in (numbers[1], numbers[1] / 100, numbers[1] * 100)
        )
    if re.sub(r"[{}()\[\]]", "", ours).lower() == re.sub(r"[{}()\[\]]", "", theirs).lower():
        return True
    parts = [_elements(one) for one in (ours, theirs)]
    if parts[0] is not None and parts[1] is not None:
        return len(parts[0]) == len(parts[1]) and all(
            equal(a, b, parse) for a, b in zip(parts[0], parts[1], strict=True)
        )
    return _same_formula(parse(answer), parse(gold))


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "")) if re.fullmatch(r"[-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?", text) else None
    except ValueError:
        return None


def _elements(text: str) -> list[str] | None:
    """Of a tuple, an interval or a matrix (row by row), at its outermost level."""
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        return re.split(r"\\\\|&", matrix.group(1))
    if not _ENCLOSED.fullmatch(text):
        return None
    parts, depth = [""], 0
    for character in text[1:-1]:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if len(parts) > 1 else None


def _same_formula(answer: Any, gold: Any) -> bool:
    from sympy import Eq, Expr, simplify

    if answer is None or gold is None:
        return False
    if answer == gold:
        return True
    if isinstance(answer, Eq) and isinstance(gold, Eq):
        ours, theirs = (one.lhs - one.rhs for one in (answer, gold))
        return _is_zero(ours - theirs) or _is_zero(ours + theirs)
    if not isinstance(answer, Expr) or not isinstance(gold, Expr) or clearly_differ(answer, gold):
        return False
    return bool(simplify(answer - gold) == 0)


def _is_zero(formula: Any) -> bool:
    from sympy import simplify

    return bool(simplify(formula) == 0)
