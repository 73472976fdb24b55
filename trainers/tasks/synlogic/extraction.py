r"""Answers found in text: fenced blocks, boxes, bracketed grids, and literals that are read, never evaluated.

Everything here is linear in the length of the text and bounded in depth: a response is a stranger's text. Patterns that
repeat use possessive quantifiers, and a search whose end is missing once is not begun again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

LONGEST_LITERAL = 20_000
"""Characters; the largest puzzles need some thousand."""
DEEPEST_LITERAL = 8
LONGEST_NUMBER = 30
"""Digits."""

_PYTHON = re.compile(r"```python")
_PYTHON_LINE = re.compile(r"```python[^\S\n]*+\n")
_FENCE = re.compile(r"```")
_FENCE_LINE = re.compile(r"\n```")
_FENCE_INDENTED = re.compile(r"\n[^\S\n]*+```")
_GRID = re.compile(r"\[\s*+\[")
_GRID_END = re.compile(r"\]\s*+\]")
_BRACE = re.compile(r"[{}]")
_BOX = "\\boxed{"
_INTEGER = re.compile(r"[+-]?\d+")
_TOKEN = re.compile(
    r"""(?P<space>(?:\s++|\#[^\n]*+)++)|(?P<open>[\[({])|(?P<close>[\])}])|(?P<mark>[,:])
    |(?P<text>'(?:[^'\\\n]|\\.)*+'|"(?:[^"\\\n]|\\.)*+")
    |(?P<number>(?:[-+]\s*+)?(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?)(?![\w.])|(?P<name>True|False|None)\b""",
    re.VERBOSE,
)
_LEADING_ZERO = re.compile(r"[-+]?0\d")
_ESCAPE = re.compile(r"\\(?:u(?P<code>[0-9a-fA-F]{4})|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\n": "", "\\": "\\", "'": "'", '"': '"'}
_NAMES = {"True": True, "False": False, "None": None}
_PAIRS = {"]": "[", ")": "(", "}": "{"}


def between(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> Iterator[str]:
    """Every text from an opening to the next closing, in order, not overlapping."""
    position = 0
    while (start := opening.search(text, position)) and (end := closing.search(text, start.end())):
        yield text[start.end() : end.start()]
        position = end.end()


def last(found: Iterator[str]) -> str | None:
    """The last of them, stripped; None of none."""
    result = None
    for result in found:  # noqa: B007 - the last one is what is wanted
        pass
    return None if result is None else result.strip()


def python_blocks(text: str) -> Iterator[str]:
    """The content of every fence marked `python`, wherever its lines break."""
    return between(text, _PYTHON, _FENCE)


def python_lines(text: str, *, indented: bool = False) -> Iterator[str]:
    """The content of every `python` fence whose marks stand on lines of their own."""
    return between(text, _PYTHON_LINE, _FENCE_INDENTED if indented else _FENCE_LINE)


def fences(text: str) -> Iterator[str]:
    """The content of every fence, the language's name included."""
    return between(text, _FENCE, _FENCE)


def grids(text: str, opening: re.Pattern[str] = _GRID) -> Iterator[str]:
    """Every text from `[[` (or another opening) to the next `]]`, both included, however spaced."""
    position = 0
    while (start := opening.search(text, position)) and (end := _GRID_END.search(text, start.end())):
        yield text[start.start() : end.end()]
        position = end.end()


def bracketed_lines(text: str) -> Iterator[str]:
    """The content of every `[[…]]` that lies on one line."""
    position = 0
    while (start := text.find("[[", position)) >= 0 and (end := text.find("]]", start + 2)) >= 0:
        line_end = text.find("\n", start, end)
        if line_end >= 0:
            position = line_end + 1
        else:
            yield text[start + 2 : end]
            position = end + 2


def last_box(text: str) -> str | None:
    r"""The content of the last `\boxed{…}`, braces matched; None where there is none or it is never closed."""
    start = text.rfind(_BOX)
    return None if start < 0 else _closed(text, start + len(_BOX))


def boxes(text: str) -> list[str]:
    r"""The content of every closed `\boxed{…}`, in order; a box in a box is part of the outer one."""
    result, position = [], 0
    while (start := text.find(_BOX, position)) >= 0:
        content = _closed(text, start + len(_BOX))
        if content is None:
            break
        result.append(content.strip())
        position = start + len(_BOX) + len(content)
    return result


def _closed(text: str, start: int) -> str | None:
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return text[start : brace.start()]
    return None


def flat_box(text: str) -> str | None:
    r"""The content of the last `\boxed{…}` up to its first closing brace, stripped."""
    start = text.rfind(_BOX)
    end = text.find("}", start)
    return text[start + len(_BOX) : end].strip() if 0 <= start < end else None


def integer(text: str) -> int | None:
    """A whole number with a sign or without, spaces around it; None for anything else and for absurd sizes."""
    text = text.strip()
    return int(text) if len(text) <= LONGEST_NUMBER and _INTEGER.fullmatch(text) else None


def from_json(text: str) -> Any:
    """What a JSON text says; None where it is no JSON or too long."""
    if len(text) > LONGEST_LITERAL:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def literal(text: str) -> Any:
    """The value of a Python literal of lists, tuples, dictionaries, texts and numbers; None for anything else.

    A small parser with a stack of its own, so that no depth of nesting reaches Python's.
    """
    if len(text) > LONGEST_LITERAL:
        return None
    stack: list[_Open] = [_Open("")]
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            return None
        position = token.end()
        kind, word = token.lastgroup, token.group()
        if kind == "space":
            continue
        if kind == "open":
            if len(stack) > DEEPEST_LITERAL:
                return None
            stack.append(_Open(word))
        elif kind == "mark":
            if not stack[-1].mark(word):
                return None
        else:
            if kind == "close":
                closed, value = stack.pop(), None
                if closed.bracket != _PAIRS[word] or not (fits := closed.close()):
                    return None
                value = fits[0]
            else:
                value = _atom(kind, word)
                if value is _UNREADABLE:
                    return None
            if not stack[-1].add(value):
                return None
    fits = stack[-1].close() if len(stack) == 1 else None
    return fits[0] if fits else None


def _unescaped(escape: re.Match[str]) -> str:
    code = escape["code"]
    return chr(int(code, 16)) if code else _ESCAPED.get(escape.group()[1:], escape.group())


_UNREADABLE = object()


def _atom(kind: str | None, word: str) -> Any:
    if kind == "name":
        return _NAMES[word]
    if kind == "text":
        return _ESCAPE.sub(_unescaped, word[1:-1])
    word = "".join(word.split())
    if len(word) > LONGEST_NUMBER:
        return _UNREADABLE
    if word.lstrip("+-").isdigit():
        return _UNREADABLE if _LEADING_ZERO.match(word) and word.strip("+-0") else int(word)
    return float(word)


class _Open:
    """A bracket whose end has not come: items, and what may follow."""

    def __init__(self, bracket: str) -> None:
        self.bracket = bracket
        self.items: list[Any] = []
        self.keys: list[Any] = []
        self.full = False
        """Whether an item stands where a comma must come next."""
        self.commas = 0
        self.awaits_value = False

    def add(self, value: Any) -> bool:
        if self.full:
            return False
        self.full = True
        self.awaits_value = False
        self.items.append(value)
        return True

    def mark(self, mark: str) -> bool:
        if not self.full:
            return False
        if mark == ":":
            key = self.items[-1]
            if self.bracket != "{" or len(self.keys) == len(self.items) or not isinstance(key, str | int | float):
                return False
            self.keys.append(self.items.pop())
            self.awaits_value = True
        elif self.bracket == "{" and len(self.keys) != len(self.items):
            return False
        else:
            self.commas += 1
        self.full = False
        return True

    def close(self) -> tuple[Any] | None:
        """(the value,), or None where the bracket cannot end here."""
        if self.awaits_value:
            return None
        if self.bracket == "[":
            return (self.items,)
        if self.bracket == "{":
            same = len(self.keys) == len(self.items)
            return (dict(zip(self.keys, self.items, strict=True)),) if same else None
        if self.commas or (self.bracket == "(" and not self.items):
            return (tuple(self.items),)
        return (self.items[0],) if self.items else None


def rows_of(value: Any, cell: type | tuple[type, ...], height: int, width: int) -> list[list[Any]] | None:
    """A list of lists of that size and kind of cell (True is no number); None for anything else."""
    if not isinstance(value, list) or len(value) != height:
        return None
    if not all(isinstance(row, list) and len(row) == width for row in value):
        return None
    return value if all(isinstance(one, cell) and not isinstance(one, bool) for row in value for one in row) else None
