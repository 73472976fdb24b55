"""Grids of numbers in which no row and column repeats one: sudoku, futoshiki, calcudoko, skyscrapers; and survo's sums.

Formats as published: calcudoko and futoshiki write `[[1 2,2 1]]` (calcudoko the first, futoshiki the last of them),
sudoku a tuple of tuples in a `python` fence, skyscrapers a list of lists in the first one, survo a JSON list in the
last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

from .extraction import (
    LONGEST_LITERAL,
    LONGEST_NUMBER,
    bracketed_lines,
    fences,
    from_json,
    grids,
    last,
    literal,
    python_blocks,
    python_lines,
    rows_of,
)
from .judgement import NOT_FOUND, RIGHT, WRONG, Judgement, Puzzle, PuzzleUnreadable, Verifier, differing, judged

Grid = list[list[int]]

_BOX = 3
_TUPLES = re.compile(r"\(\s*+\(\s*+\d++\s*+,")
_TUPLES_END = re.compile(r"\)\s*+\)")
_CELL = re.compile(r"\((\d+)\s*,\s*(\d+)\)")
_KEPT = re.compile(r"[^\d\[\],\s]+")
_NUMBER = re.compile(r"\d+")


def sudoku(text: str, puzzle: Puzzle) -> Judgement:
    """Nine rows, columns and boxes of 1 to 9, the given numbers kept."""
    size = _BOX * _BOX
    given = puzzle.grid("original_sudoku")
    if len(given) != size or len(given[0]) != size:
        raise PuzzleUnreadable("`original_sudoku` is not 9 by 9")
    source = last(python_blocks(text)) or _last_tuples(text)
    if not source:
        return NOT_FOUND
    value = literal(source)
    if not isinstance(value, tuple | list):
        return NOT_FOUND
    grid = rows_of([list(row) if isinstance(row, tuple) else row for row in value], int, size, size)
    if grid is None or not is_latin(grid):
        return WRONG
    parts = [[grid[r][c] for r in range(a, a + _BOX) for c in range(b, b + _BOX)] for a in (0, 3, 6) for b in (0, 3, 6)]
    return judged(all(len(set(part)) == size for part in parts) and keeps(grid, given, blanks=(0, "X", "x")))


def _last_tuples(text: str) -> str | None:
    result, position = None, 0
    while (start := _TUPLES.search(text, position)) and (end := _TUPLES_END.search(text, start.end())):
        result, position = text[start.start() : end.end()], end.end()
    return result


def is_latin(grid: Sequence[Sequence[int]]) -> bool:
    """Whether every row and column of a square grid holds 1 to n."""
    numbers = set(range(1, len(grid) + 1))
    return all(set(line) == numbers for line in chain(grid, zip(*grid, strict=True)))


def keeps(grid: Sequence[Sequence[Any]], given: Sequence[Sequence[Any]], *, blanks: tuple[Any, ...]) -> bool:
    """Whether every cell of the puzzle that is not blank stands in the answer."""
    pairs = zip(chain.from_iterable(grid), chain.from_iterable(given), strict=True)
    return all(old in blanks or str(new) == str(old) for new, old in pairs)


def skyscraper_puzzle(text: str, puzzle: Puzzle) -> Judgement:
    """A latin square whose lines show, from each side, as many towers as the edge says."""
    size = puzzle.integer("n")
    top, bottom, left, right = (puzzle.items(side, int) for side in ("top", "bottom", "left", "right"))
    source = next(python_lines(text, indented=True), None)
    if source is None:
        return NOT_FOUND
    value = literal(source)
    if value is None:
        return NOT_FOUND
    grid = rows_of(value, int, size, size)
    if grid is None or not is_latin(grid):
        return WRONG
    columns = [list(column) for column in zip(*grid, strict=True)]
    views = ((columns, top, 1), (columns, bottom, -1), (grid, left, 1), (grid, right, -1))
    return judged(all([_visible(line[::step]) for line in lines] == edge for lines, edge, step in views))


def _visible(heights: Sequence[int]) -> int:
    tallest = count = 0
    for height in heights:
        if height > tallest:
            tallest, count = height, count + 1
    return count


def survo(text: str, puzzle: Puzzle) -> Judgement:
    """The blanks filled with the candidates, each used once, so that the last row and column hold the sums."""
    given = puzzle.grid("original_matrix")
    candidates = puzzle.items("candidate_numbers", int)
    found = (last(each(text)) for each in (python_blocks, fences, grids))
    source = next((one for one in found if one is not None), "")
    value = from_json(source.replace("'", '"'))
    if value is None:
        return NOT_FOUND
    matrix = _numbers(value, len(given), len(given[0]))
    if matrix is None:
        return WRONG
    cells = list(zip(chain.from_iterable(matrix), chain.from_iterable(given), strict=True))
    kept = all(old in (0, new) for new, old in cells)
    if not kept or sorted(new for new, old in cells if old == 0) != sorted(candidates):
        return WRONG
    lines = [*matrix[:-1], *list(zip(*matrix, strict=True))[:-1]]
    return judged(all(sum(line[:-1]) == line[-1] for line in lines))


def _numbers(value: Any, height: int, width: int) -> list[list[int | float]] | None:
    rows = rows_of(value, (int, float), height, width)
    return None if rows is None or any(one != one for row in rows for one in row) else rows


def futoshiki(text: str, puzzle: Puzzle) -> Judgement:
    """A latin square that keeps the given numbers and the signs between cells."""
    size = puzzle.integer("grid_size")
    signs = _signs(puzzle, size)
    given = _givens(puzzle, size)
    content = _last_unbroken(text)
    grid = content and [[int(n) for n in _NUMBER.findall(row)] for row in content.split(",")]
    if not grid:
        return NOT_FOUND
    if rows_of(grid, int, size, size) is None or not is_latin(grid):
        return WRONG
    if not all(_holds(grid[a][b], grid[c][d], sign) for (a, b), (c, d), sign in signs):
        return WRONG
    if all(grid[row][column] == number for (row, column), number in given.items()):
        return RIGHT
    return WRONG if _ENGLISH in puzzle.question else differing("futoshiki.givens")


_ENGLISH, _CHINESE = "Current puzzle:", "当前题目"


def _signs(puzzle: Puzzle, size: int) -> list[tuple[tuple[int, int], tuple[int, int], str]]:
    try:
        signs = [((a, b), (c, d), sign) for (a, b), (c, d), sign in puzzle.items("constraints", list)]
    except (TypeError, ValueError) as error:
        raise PuzzleUnreadable("`constraints` names no pairs of cells") from error
    places = [place for first, second, _ in signs for place in (*first, *second)]
    if not all(isinstance(place, int) and 0 <= place < size for place in places):
        raise PuzzleUnreadable("`constraints` names no cells of the grid")
    return signs


def _givens(puzzle: Puzzle, size: int) -> dict[tuple[int, int], int]:
    """(row, column) → number; they stand in the prompt alone, below a heading."""
    places = puzzle.pairs("prefilled_coords")
    heading = next((mark for mark in (_ENGLISH, _CHINESE) if mark in puzzle.question), None)
    lines = puzzle.question.partition(heading)[2].split("\n")[1:] if heading else []
    rows = [cells for line in lines if (cells := line.split())][:size]
    if any(len(cells) != size for cells in rows) or len(rows) != size:
        raise PuzzleUnreadable("the puzzle's prompt shows no grid")
    return {(r, c): int(rows[r][c]) for r, c in places if r < size and c < size and rows[r][c].isdecimal()}


def _holds(first: int, second: int, sign: str) -> bool:
    return first > second if sign == ">" else first < second if sign == "<" else True


def _last_unbroken(text: str) -> str | None:
    """The last `[[…]]` with no bracket `]` inside; short enough to hold a grid of small numbers."""
    result, position = None, 0
    while (start := text.find("[[", position)) >= 0 and (end := text.find("]", start + 2)) >= 0:
        if end == start + 2:
            position = start + 1
        elif text.startswith("]]", end):
            result, position = text[start + 2 : end], end + 2
        else:
            position = end + 1
    if result is None or len(result) > LONGEST_LITERAL or any(len(n) > LONGEST_NUMBER for n in _NUMBER.findall(result)):
        return None
    return result


def calcudoko(text: str, puzzle: Puzzle) -> Judgement:
    """A latin square whose cages reach their targets, no number twice in a cage."""
    size = puzzle.integer("grid_size")
    cages = [_cage(region, size) for region in puzzle.items("regions", dict)]
    found = next(bracketed_lines(text), None)
    source = found if found is not None else last(python_blocks(text)) or _last_tuples(text) or text
    if len(source) > LONGEST_LITERAL:
        return NOT_FOUND
    lines = _KEPT.sub("", source).strip("[]").split(",")
    if any("[" in line or "]" in line for line in lines):
        return WRONG if found is not None else NOT_FOUND
    words = [line.split() for line in lines]
    if not any(words):
        return NOT_FOUND
    if any(len(word) > LONGEST_NUMBER for line in words for word in line):
        return WRONG
    grid = [[int(word) for word in line] for line in words]
    if rows_of(grid, int, size, size) is not None:
        return judged(_solves(grid, cages))
    padded = [[*row[:size], *[1] * (size - len(row))] for row in grid[:size]]
    padded += [[1] * size] * (size - len(padded))
    return differing("calcudoko.cells", extracted=found is not None) if _solves(padded, cages) else WRONG


Cage = tuple[list[tuple[int, int]], int, str]


def _cage(region: dict[str, Any], size: int) -> Cage:
    try:
        cells = [match.groups() for cell in region["cells"] if (match := _CELL.search(str(cell)))]
        places = [(int(row) - 1, int(column) - 1) for row, column in cells]
        target, operator = region["target"], region["operator"]
    except (KeyError, TypeError) as error:
        raise PuzzleUnreadable("a region of the puzzle has no cells, target or operator") from error
    if len(places) != len(region["cells"]) or any(not (0 <= r < size and 0 <= c < size) for r, c in places):
        raise PuzzleUnreadable("a region of the puzzle names no cells of the grid")
    return places, target, operator


def _solves(grid: Grid, cages: list[Cage]) -> bool:
    return is_latin(grid) and all(_reaches([grid[r][c] for r, c in cells], goal, sign) for cells, goal, sign in cages)


def _reaches(numbers: list[int], target: int, operator: str) -> bool:
    if len(set(numbers)) != len(numbers):
        return False
    if operator in ("+", "*"):
        return (sum(numbers) if operator == "+" else prod(numbers)) == target
    if len(numbers) != 2:
        return False
    low, high = sorted(numbers)
    return high - low == abs(target) if operator == "-" else target in (high / low, low / high)


VERIFIERS = {
    "calcudoko": Verifier(calcudoko, ("grid_size", "regions")),
    "futoshiki": Verifier(futoshiki, ("grid_size", "constraints", "prefilled_coords"), needs_question=True),
    "skyscraper_puzzle": Verifier(skyscraper_puzzle, ("n", "top", "bottom", "left", "right")),
    "sudoku": Verifier(sudoku, ("original_sudoku",)),
    "survo": Verifier(survo, ("original_matrix", "candidate_numbers")),
}
