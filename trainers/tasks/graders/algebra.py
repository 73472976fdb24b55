"""Whether two parsed answers differ, seen from their values at a few points: what saves a slow `simplify`.

It also tells small numbers apart, which math-verify rounds to six decimals. SymPy is imported in the worker only.
"""

from __future__ import annotations

from typing import Any

POINTS = (0.7312, 1.6180339, 2.4142)
"""Values given to the unknowns, each unknown another multiple: positive, so that roots and logarithms exist."""
ROUNDED, EXACT = 1e-3, 1e-6
"""Relative difference between values of one answer where a decimal number stands in it, and where none does."""
LARGEST_EXPONENT = 10_000
"""Towers of powers, and powers and factorials beyond this, are left alone: to compute them can take forever."""


def clearly_differ(first: Any, second: Any) -> bool:
    """Whether two formulas in the same unknowns have different values.

    False for anything but two formulas (equations, sets, tuples, matrices, words), for huge powers, and where a value
    does not exist: whatever cannot be computed is left to the grader.
    """
    from sympy import Expr, Float, MatrixExpr, Symbol

    formulas = (first, second)
    if not all(isinstance(one, Expr) and not isinstance(one, (Symbol, MatrixExpr)) for one in formulas):
        return False
    names = sorted(first.free_symbols, key=str)
    if set(names) != second.free_symbols or any(_is_huge(one) for one in formulas):
        return False
    tolerance = ROUNDED if any(one.has(Float) for one in formulas) else EXACT
    try:
        for point in POINTS if names else POINTS[:1]:
            values = {name: point * (1 + 0.37 * place) for place, name in enumerate(names)}
            a, b = (one.subs(values).doit().evalf(15) for one in formulas)
            if abs(a - b) > tolerance * max(abs(a), abs(b)):  # SymPy's numbers neither overflow nor underflow
                return True
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        return False
    return False


def _is_huge(formula: Any) -> bool:
    """Whether a power or factorial of a number beyond `LARGEST_EXPONENT`, or of a number not yet computed, is in it."""
    from sympy import Pow, factorial, preorder_traversal

    for part in preorder_traversal(formula):
        if isinstance(part, (Pow, factorial)):
            exponent = part.args[-1]
            if exponent.is_number and (exponent.has(Pow, factorial) or abs(exponent) > LARGEST_EXPONENT):
                return True
    return False
