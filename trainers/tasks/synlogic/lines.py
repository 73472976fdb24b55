"""Grids read along lines: arrow mazes, numbrix paths, crosswords.

Formats as published: an arrow maze is the last list of lists in a fence or in the text, numbrix the last in the text,
a crossword the first after the last `</think>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .extraction import LONGEST_LITERAL, fences, grids, last, literal, python_lines, rows_of
from .judgement import NOT_FOUND, WRONG, Judgement, Puzzle, PuzzleUnreadable, Verifier, differing, judged

ARROWS = {"↑": (-1, 0), "↓": (1, 0), "←": (0, -1), "→": (0, 1), "↖": (-1, -1), "↗": (-1, 1), "↘": (1, 1), "↙": (1, -1)}


def arrow_maze(text: str, puzzle: Puzzle) -> Judgement:
    """Every blank gets an arrow, every arrow lies on a ray from a number, and a number's rays hold that many arrows."""
    given = puzzle.grid("maze")
    value = next((value for source in _mazes(text) if _is_grid(value := literal(source))), None)
    if value is None:
        return NOT_FOUND
    grid = rows_of(value, str, len(given), len(given[0]))
    if grid is None:
        return WRONG
    pairs = [pair for a, b in zip(grid, given, strict=True) for pair in zip(a, b, strict=True)]
    if any(new not in ARROWS and not new.isdecimal() for new, _ in pairs) or any(
        old not in (new, "X") for new, old in pairs
    ):
        return WRONG
    covered: set[tuple[int, int]] = set()
    for r, row in enumerate(grid):
        for c, cell in enumerate(row):
            if cell.isdecimal():
                ray = set(_rays(grid, r, c))
                covered |= ray
                if str(len(ray)) != (cell.lstrip("0") or "0"):
                    return WRONG
    if len(covered) != sum(new in ARROWS for new, _ in pairs):
        return WRONG
    invented = any(old == "X" and new not in ARROWS for new, old in pairs)
    return differing("arrow_maze.digit_in_blank") if invented else judged(True)


def _mazes(text: str) -> Iterator[str]:
    """The texts that may be the answer, the most likely first."""
    fenced = last(block for block in python_lines(text) if "[" in block)
    plain = last(block for block in fences(text) if "[" in block)
    yield from (source for source in (fenced, plain, last(grids(text))) if source)


def _is_grid(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, list) for row in value)


def _rays(grid: list[list[str]], row: int, column: int) -> Iterator[tuple[int, int]]:
    for arrow, (down, right) in ARROWS.items():
        r, c = row + down, column + right
        while 0 <= r < len(grid) and 0 <= c < len(grid[0]) and grid[r][c] == arrow:
            yield r, c
            r, c = r + down, c + right


_STARTS_WITH_NUMBER = re.compile(r"\[\s*+\[\s*+\d")


def numbrix(text: str, puzzle: Puzzle) -> Judgement:
    """1 to n², each beside the next, the given numbers kept."""
    given = puzzle.grid("grid")
    size = len(given)
    if size != len(given[0]):
        raise PuzzleUnreadable("`grid` is not square")
    source = last(grids(text, _STARTS_WITH_NUMBER))
    value = literal(source.replace("'", "").replace('"', "")) if source else None
    if value is None:
        return NOT_FOUND
    grid = rows_of(value, int, size, size)
    if grid is None:
        return WRONG
    place = {number: (r, c) for r, row in enumerate(grid) for c, number in enumerate(row)}
    if set(place) != set(range(1, size * size + 1)):
        return WRONG
    if any(old not in ("X", new) for a, b in zip(grid, given, strict=True) for new, old in zip(a, b, strict=True)):
        return WRONG
    steps = ((place[number], place[number + 1]) for number in range(1, size * size))
    return judged(all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in steps))


_CROSSWORD = re.compile(r"\[\s*+\[(?:\s*+\[)?+")
_CROSSWORD_END = re.compile(r"\]\s*+\]")
_ROWS = re.compile(r"\],\s*\[")
_LETTER = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^,\s]+)")


def wordscapes(text: str, puzzle: Puzzle) -> Judgement:
    """Letters on the pattern's places alone, each word inside some row (across) or column (down); case is ignored."""
    pattern = puzzle.grid("grid")
    across, down = puzzle.items("across_words", str), puzzle.items("down_words", str)
    grid = _crossword(text)
    if grid is None:
        return NOT_FOUND
    if len(grid) != len(pattern) or any(len(a) != len(b) for a, b in zip(grid, pattern, strict=True)):
        return WRONG
    pairs = (pair for a, b in zip(grid, pattern, strict=True) for pair in zip(a, b, strict=True))
    if any((mark == "0" and letter.strip()) or (mark == "X" and not letter.strip()) for letter, mark in pairs):
        return WRONG
    rows, columns = (
        ["".join(line).replace(" ", "").lower() for line in lines] for lines in (grid, zip(*grid, strict=True))
    )
    wanted = [(word.lower(), rows) for word in across] + [(word.lower(), columns) for word in down]
    return judged(all(any(word in line for line in lines) for word, lines in wanted))


def _crossword(text: str) -> list[list[str]] | None:
    if "<think>" in text:
        text = text.rpartition("</think>")[2]
    start = _CROSSWORD.search(text)
    end = _CROSSWORD_END.search(text, start.end() + 1) if start else None
    if not start or not end or end.start() - start.end() > LONGEST_LITERAL:
        return None
    rows = []
    for row in _ROWS.split(text[start.end() : end.start()]):
        found = _LETTER.findall(row.strip().strip("[],"))
        letters = [" " if letter in ("0", "") else letter for letter in map("".join, found)]
        if letters:
            rows.append(letters)
    return rows or None


VERIFIERS = {
    "arrow_maze": Verifier(arrow_maze, ("maze",)),
    "numbrix": Verifier(numbrix, ("grid",)),
    "wordscapes": Verifier(wordscapes, ("grid", "across_words", "down_words")),
}
