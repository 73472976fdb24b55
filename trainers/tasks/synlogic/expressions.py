r"""Arithmetic that is read by a parser of its own: game of 24, filled-in equations, cryptarithms, defined operations.

Values are exact fractions. An expression is digits, brackets and `+ - * / %` with the precedence of Python (`%` is the
remainder of floor division); there is no power, so a bounded text has a bounded value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from .extraction import LONGEST_NUMBER, boxes, bracketed_lines, last, python_blocks
from .judgement import NOT_FOUND, WRONG, Judgement, Puzzle, PuzzleUnreadable, Verifier, differing, judged

LONGEST_EXPRESSION = 1_000
"""Characters."""
Postfix = list[Fraction | str]

_TOKEN = re.compile(r"\s*+(?:(0++(?!\d)|[1-9]\d*+)|([-+*/%()]))")
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "negated": 3, "kept": 3}
_UNARY = {"-": "negated", "+": "kept"}


def postfix(text: str) -> Postfix | None:
    """Numbers and operators in the order in which they are computed; None where the text is no expression.

    Two expressions have the same shape where these differ in numbers alone: needless brackets do not show.
    """
    text = text.strip()
    if len(text) > LONGEST_EXPRESSION:
        return None
    result: Postfix = []
    waiting: list[str] = []
    position, operand_next, depth = 0, True, 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or (depth == 0 and "\n" in token.group()):
            return None
        position = token.end()
        number, mark = token.groups()
        if number is not None or mark == "(":
            if not operand_next:
                return None
            if number is None:
                waiting.append("(")
                depth += 1
            elif len(number) > LONGEST_NUMBER:
                return None
            else:
                result.append(Fraction(int(number)))
                operand_next = False
        elif mark == ")":
            if operand_next or depth == 0:
                return None
            while (operator := waiting.pop()) != "(":
                result.append(operator)
            depth -= 1
        elif operand_next:
            if mark not in _UNARY:
                return None
            waiting.append(_UNARY[mark])
        else:
            while waiting and waiting[-1] != "(" and _BINDING[waiting[-1]] >= _BINDING[mark]:
                result.append(waiting.pop())
            waiting.append(mark)
            operand_next = True
    if operand_next or depth:
        return None
    return [*result, *reversed(waiting)]


def value_of(expression: Postfix) -> Fraction | None:
    """The value; None where something is divided by zero."""
    stack: list[Fraction] = []
    for part in expression:
        if isinstance(part, Fraction):
            stack.append(part)
        elif part in ("negated", "kept"):
            stack.append(-stack.pop() if part == "negated" else stack.pop())
        else:
            right, left = stack.pop(), stack.pop()
            if part in "/%" and right == 0:
                return None
            stack.append(_computed(left, part, right))
    return stack[0]


def _computed(left: Fraction, operator: str, right: Fraction) -> Fraction:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return left / right if operator == "/" else left % right


_DIGITS = re.compile(r"[0-9]+")


def game_of_24(text: str, puzzle: Puzzle) -> Judgement:
    """An expression in the last `python` fence that uses every given number once and has the wanted value."""
    numbers = [str(number) for number in puzzle.items("numbers", int)]
    operators = {str(operator) for operator in puzzle.items("operators", str)}
    target = puzzle.integer("result")
    source = last(python_blocks(text))
    if not source:
        return NOT_FOUND
    signs = _DIGITS.sub("", source)
    unknown = set(signs) - operators - set("()") - set(" \t\n\r\f\v")
    if len(source) > LONGEST_EXPRESSION or unknown or sorted(_DIGITS.findall(source)) != sorted(numbers):
        return WRONG
    if "**" in source or "//" in source:
        sound = postfix(source.replace("**", "*").replace("//", "/"))
        return differing("game_of_24.operators") if sound else WRONG
    expression = postfix(source)
    value = None if expression is None else value_of(expression)
    if value is None:
        return WRONG
    return judged(True) if value == target else differing("game_of_24.value")


_SIGNS = "+-*/%"


def math_path(text: str, puzzle: Puzzle) -> Judgement:
    """The last `[[…]]`: the given equation with a digit for every `?`, and true."""
    query = puzzle.text("query_expr").replace(" ", "")
    shape = _sides(query.replace("?", "1"))
    if shape is None:
        raise PuzzleUnreadable("`query_expr` is no equation")
    found = last(bracketed_lines(text))
    if found is None:
        return NOT_FOUND
    filled = found.replace(" ", "")
    if len(filled) > LONGEST_EXPRESSION:
        return WRONG
    wanted, digits = ([one for one in side if one in "0123456789?"] for side in (query, filled))
    signs, other_signs = ([one for one in side if one in _SIGNS] for side in (query, filled))
    if len(digits) != len(wanted) or any(one not in ("?", two) for one, two in zip(wanted, digits, strict=True)):
        return WRONG
    sides = _sides(filled)
    if other_signs != signs:
        return WRONG
    if sides is None:
        alone = postfix(filled)
        return differing("math_path.no_equation") if alone and value_of(alone) else WRONG
    left, right = (value_of(side) for side in sides)
    if left is None or left != right:
        return WRONG
    return judged(True) if _forms(sides) == _forms(shape) else differing("math_path.structure")


def _sides(equation: str) -> tuple[Postfix, Postfix] | None:
    parts = [postfix(part) for part in equation.split("=")]
    return (parts[0], parts[1]) if len(parts) == 2 and parts[0] is not None and parts[1] is not None else None


def _forms(sides: Sequence[Postfix]) -> list[list[str]]:
    return [["number" if isinstance(part, Fraction) else part for part in side] for side in sides]


_EQUATION = re.compile(r"(?<!\d)\d++(?:(?:\s*+[-+*]\s*+\d++)++(\s*+=\s*+-?\d++)?+)?+")


def cryptarithm(text: str, puzzle: Puzzle) -> Judgement:
    """The last equation of digits in the text is the reference, spaces aside."""
    gold = puzzle.answer_text().replace(" ", "")
    found = None
    for equation in _EQUATION.finditer(text):
        if equation.group(1):
            found = equation.group()
    return NOT_FOUND if found is None else judged(found.replace(" ", "") == gold)


_TEXT = re.compile(r"\\(?:text|mathrm|mathbf)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(-?\d+(?:\.\d+)?)\}\{(-?\d+(?:\.\d+)?)\}")
_SLASH = re.compile(r"(-?\d+(?:\.\d+)?)/(-?\d+(?:\.\d+)?)")
_DECIMAL = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = r"-?\d++(?:\.\d++)?(?:/\d++(?:\.\d++)?)?"
_IN_PROSE = re.compile(rf"(?<![\w{{.\\/-]){_NUMBER}(?![\w}}/%]|\.\d)")
_ANCHORED = re.compile(
    r"(?:answer|Answer)(?: is|\s?:)[\s:$*]*+(-?\d++(?:\.\d++)?(?:/\d++(?:\.\d++)?)?)(?![\w}/%]|\.\d)"
)
_ROUNDING = Fraction(1, 10**6)


def operation(text: str, puzzle: Puzzle) -> Judgement:
    r"""One number in a `\boxed{}`; without a box the number after the last `answer is`, or else the last number.

    Fractions and decimals alike, equal to the reference within 1e-6. Boxes with different values are no answer.
    """
    gold = number(str(puzzle.answer))
    if gold is None:
        raise PuzzleUnreadable("the puzzle's answer is no number")
    contents = boxes(text)
    if contents:
        values = {number(content) for content in contents}
        right = len(values) == 1 and _equal(value := values.pop(), gold)
        if right and value and value.denominator > 1 and all(_TEXT.search(content) for content in contents):
            return differing("operation.text")
        return judged(right)
    if "\\boxed{" in text:
        return NOT_FOUND
    words = _ANCHORED.findall(text) or _IN_PROSE.findall(text)
    return judged(_equal(number(words[-1]), gold)) if words else NOT_FOUND


def _equal(value: Fraction | None, gold: Fraction) -> bool:
    return value is not None and abs(value - gold) < _ROUNDING


def number(text: str) -> Fraction | None:
    r"""The value of a decimal, `a/b`, `\frac{a}{b}` or a percentage, after `=` if there is one; None for the rest."""
    text = _TEXT.sub(r"\1", text[:LONGEST_EXPRESSION]).replace("$", "").rpartition("=")[2]
    text = "".join(_GROUPED.sub("", text).split()).rstrip(".")
    percent = text.endswith("%")
    text = text.removesuffix("%").removesuffix("\\")
    if len(text) > 4 * LONGEST_NUMBER:
        return None
    value: Fraction | None = None
    if quotient := _FRACTION.fullmatch(text) or _SLASH.fullmatch(text):
        above, below = (Fraction(part) for part in quotient.groups()[-2:])
        sign = -1 if quotient.re is _FRACTION and quotient.group(1) else 1
        value = sign * above / below if below else None
    elif _DECIMAL.fullmatch(text):
        value = Fraction(text.rstrip(".") or "0")
    return value / 100 if percent and value is not None else value


VERIFIERS = {
    "cryptarithm": Verifier(cryptarithm, needs_answer=True),
    "game_of_24": Verifier(game_of_24, ("numbers", "operators", "result")),
    "math_path": Verifier(math_path, ("query_expr",)),
    "operation": Verifier(operation, needs_answer=True),
}
