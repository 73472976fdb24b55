"""Grids in which things are placed: tents, stars, dominoes, mines, walls, and kukurasu's weighted cells.

Formats as published: campsite and kukurasu take the first grid of the answer, number walls the last, stars a
dictionary in the first `python` fence, norinori every pair of cells in the text, minesweeper a list of cells in several
spellings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .extraction import LONGEST_NUMBER, from_json, grids, integer, literal, python_lines, rows_of
from .judgement import NOT_FOUND, WRONG, Judgement, Puzzle, PuzzleUnreadable, Verifier, differing, judged

Cell = tuple[int, int]

SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
AROUND = tuple((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0))


def cells_with(grid: list[list[Any]], content: Any) -> list[Cell]:
    """Where it stands, row by row."""
    return [(r, c) for r, row in enumerate(grid) for c, cell in enumerate(row) if cell == content]


def neighbours(cell: Cell, steps: Iterable[Cell]) -> list[Cell]:
    """The cells a step away, inside the grid or not."""
    return [(cell[0] + a, cell[1] + b) for a, b in steps]


def campsite(text: str, puzzle: Puzzle) -> Judgement:
    """Tents `C`: one to a tree, beside it; none touch; as many in rows and columns as asked; trees `T` stay."""
    given = puzzle.grid("grid")
    wanted = puzzle.items("row_constraints", int), puzzle.items("col_constraints", int)
    source = next(grids(text), None)
    value = literal(source) if source else None
    if value is None:
        return NOT_FOUND
    grid = rows_of(value, (str, int, float), len(given), len(given[0]))
    if grid is None:
        return WRONG
    tents, trees = cells_with(grid, "C"), cells_with(grid, "T")
    counts = [[line.count("C") for line in grid], [list(line).count("C") for line in zip(*grid, strict=True)]]
    if trees != cells_with(given, "T") or counts != list(wanted) or len(tents) != len(trees) or touch(tents):
        return WRONG
    return judged(_matched(tents, set(trees)))


def touch(cells: list[Cell]) -> bool:
    """Whether two of them are neighbours, diagonals included."""
    taken = set(cells)
    return any(other in taken for cell in cells for other in neighbours(cell, AROUND))


def _matched(tents: list[Cell], trees: set[Cell]) -> bool:
    """Whether every tent can have a tree of its own beside it (augmenting paths)."""
    owner: dict[Cell, Cell] = {}

    def place(tent: Cell, tried: set[Cell]) -> bool:
        for tree in neighbours(tent, SIDES):
            if tree in trees and tree not in tried:
                tried.add(tree)
                if tree not in owner or place(owner[tree], tried):
                    owner[tree] = tent
                    return True
        return False

    return all(place(tent, set()) for tent in tents)


_ROW = r'\[(?:\s*+"[X1]"\s*+,)*+\s*+"[X1]"\s*+\]\s*+'
_KUKURASU = re.compile(rf"\[\s*+{_ROW}(?:,\s*+{_ROW})*+\]")


def kukurasu(text: str, puzzle: Puzzle) -> Judgement:
    """Cells `"1"` weigh their column's number in their row and their row's number in their column."""
    sums = puzzle.items("row_sums", int), puzzle.items("col_sums", int)
    found = _KUKURASU.search(text)
    value = from_json(found.group()) if found else None
    if value is None:
        return NOT_FOUND
    grid = rows_of(value, str, len(sums[0]), len(sums[1]))
    if grid is None:
        return WRONG
    ones = cells_with(grid, "1")
    rows, columns = [0] * len(sums[0]), [0] * len(sums[1])
    for row, column in ones:
        rows[row] += column + 1
        columns[column] += row + 1
    return judged((rows, columns) == sums)


_STARS = re.compile(r"\{[^{}]*+\}")


def star_placement_puzzle(text: str, puzzle: Puzzle) -> Judgement:
    """As many stars as asked in every row, column and region, none touching; cells count from 1, labels are ignored."""
    size, count, regions = puzzle.integer("n"), puzzle.integer("k"), puzzle.grid("region_grid")
    if len(regions) != size or len(regions[0]) != size:
        raise PuzzleUnreadable("`region_grid` is not n by n")
    block = next(python_lines(text, indented=True), None)
    found = _STARS.search(block) if block else None
    value = literal(found.group()) if found else None
    if not isinstance(value, dict) or not value:
        return NOT_FOUND
    pairs = [pair for cells in value.values() for pair in (cells if isinstance(cells, list | tuple) else [None])]
    stars = {cell for pair in pairs if (cell := _cell(pair))}
    if not all(_cell(pair) for pair in pairs) or not all(1 <= one <= size for cell in stars for one in cell):
        return WRONG
    inside = [(row - 1, column - 1) for row, column in stars]
    rows, columns = Counter(row for row, _ in inside), Counter(column for _, column in inside)
    areas = Counter(regions[row][column] for row, column in inside)
    lines = all(rows[i] == columns[i] == count for i in range(size))
    named = {region for row in regions for region in row}
    return judged(lines and all(areas[region] == count for region in named) and not touch(inside))


def _cell(pair: Any) -> Cell | None:
    whole = isinstance(pair, list | tuple) and len(pair) == 2 and all(type(number) is int for number in pair)
    return (pair[0], pair[1]) if whole else None


_DOMINO = re.compile(r"\[\((\d++),\s*+(\d++)\),\s*+\((\d++),\s*+(\d++)\)\]")
_LOOSE_DOMINO = re.compile(
    r"\(\s*+(\d++)\s*+,\s*+(\d++)\s*+\)\s*+,\s*+\(\s*+(\d++)\s*+,\s*+(\d++)\s*+\)",
)


def norinori(text: str, puzzle: Puzzle) -> Judgement:
    """Dominoes that share no edge, two covered cells in every region, every shaded cell `X` covered; from 1."""
    regions = puzzle.grid("region_grid")
    if len(regions) != len(regions[0]):
        raise PuzzleUnreadable("`region_grid` is not square")
    found = _DOMINO.findall(text) or _LOOSE_DOMINO.findall(text)
    if any(len(number) > LONGEST_NUMBER for domino in found for number in domino):
        return WRONG
    dominoes = [((int(a), int(b)), (int(c), int(d))) for a, b, c, d in found]
    owner = {cell: index for index, domino in enumerate(dominoes) for cell in domino}
    size = len(regions)
    if len(owner) != 2 * len(dominoes) or any(not (1 <= r <= size and 1 <= c <= size) for r, c in owner):
        return WRONG
    if any(abs(a - c) + abs(b - d) != 1 for (a, b), (c, d) in dominoes):
        return WRONG
    if any(owner.get(other, index) != index for cell, index in owner.items() for other in neighbours(cell, SIDES)):
        return WRONG
    covered = Counter(regions[row - 1][column - 1] for row, column in owner)
    named = {region for row in regions for region in row} - {"X"}
    shaded = len(cells_with(regions, "X"))
    if covered["X"] != shaded or any(covered[region] not in (0, 2) for region in named):
        return WRONG if found else NOT_FOUND
    if any(covered[region] == 0 for region in named):
        return differing("norinori.empty_region", extracted=bool(found))
    return judged(True)


_PAIR = r"\(\s*+\d++\s*+,\s*+\d++\s*+\)"
_SQUARE_PAIR = r"\[\s*+\d++\s*+,\s*+\d++\s*+\]"
_MINES = (
    re.compile(rf"\[\s*+{_PAIR}(?:\s*+,\s*+{_PAIR})*+\s*+\]"),
    re.compile(rf"\[\s*+{_SQUARE_PAIR}(?:\s*+,\s*+{_SQUARE_PAIR})*+\s*+\]"),
    re.compile(_PAIR),
)
_COORDINATES = re.compile(r"[(\[]\s*+(\d++)\s*+,\s*+(\d++)\s*+[)\]]")
_NUMBER_PAIR = re.compile(r"(?<!\d)(\d++)\D++(\d++)")
_EMPTY_LIST = re.compile(r"\[\s*+\]")


def minesweeper(text: str, puzzle: Puzzle) -> Judgement:
    """The set of cells that are mines for certain, from 0: in lists, in brackets, or any pairs of numbers."""
    certain = set(puzzle.pairs("current_mines"))
    found: list[tuple[str, str]] = []
    for pattern in _MINES:
        found = [pair for match in pattern.finditer(text) for pair in _COORDINATES.findall(match.group())]
        if found:
            break
    found = found or _NUMBER_PAIR.findall(text)
    if not found:
        if certain:
            return WRONG if _EMPTY_LIST.search(text) else NOT_FOUND
        return judged(True) if _EMPTY_LIST.search(text) else differing("minesweeper.no_answer", extracted=False)
    if any(len(number) > LONGEST_NUMBER for pair in found for number in pair):
        return WRONG
    return judged({(int(row), int(column)) for row, column in found} == certain)


_ITEM = r"""(?:"[XA]"|'[XA]'|[0-9]++|"[0-9]++"|'[0-9]++')"""
_WALL_ROW = rf"\[(?:\s*+{_ITEM}\s*+,)*+\s*+{_ITEM}\s*+\]\s*+"
_WALLS = re.compile(rf"\[\s*+{_WALL_ROW}(?:,\s*+{_WALL_ROW})*+\]")


def number_wall(text: str, puzzle: Puzzle) -> Judgement:
    """Islands as large as the one number in each, no 2 by 2 of wall `A`, no two islands that touch at a corner.

    The prompt does not mention corners; the published evaluation looks at them.
    """
    given = puzzle.grid("grid")
    found = _WALLS.findall(text)
    value = literal(found[-1]) if found else None
    if value is None:
        return NOT_FOUND
    grid = rows_of(value, (str, int), len(given), len(given[0]))
    if grid is None:
        return WRONG
    grid = [[cell if cell in ("X", "A") else integer(str(cell)) for cell in row] for row in grid]
    cells = {(r, c) for r, row in enumerate(grid) for c in range(len(row))}
    land = {cell for cell in cells if grid[cell[0]][cell[1]] != "A"}
    if any(isinstance(given[r][c], int) and given[r][c] != grid[r][c] for r, c in cells):
        return WRONG
    if any(not {(r, c), *_square(r, c)} & land for r, c in cells if {*_square(r, c)} <= cells):
        return WRONG
    islands = _islands(land)
    of = {cell: index for index, island in enumerate(islands) for cell in island}
    for island in islands:
        numbers = [number for r, c in island if isinstance(number := grid[r][c], int)]
        if numbers != [len(island)]:
            return WRONG
    if any(of.get(other, of[cell]) != of[cell] for cell in land for other in neighbours(cell, AROUND)):
        return WRONG
    invented = any(isinstance(grid[r][c], int) and not isinstance(given[r][c], int) for r, c in cells)
    return differing("number_wall.invented_number") if invented else judged(True)


def _square(row: int, column: int) -> tuple[Cell, Cell, Cell]:
    return (row + 1, column), (row, column + 1), (row + 1, column + 1)


def _islands(land: set[Cell]) -> list[set[Cell]]:
    result, left = [], set(land)
    while left:
        island, edge = set(), [left.pop()]
        while edge:
            cell = edge.pop()
            island.add(cell)
            fresh = [other for other in neighbours(cell, SIDES) if other in left]
            left.difference_update(fresh)
            edge += fresh
        result.append(island)
    return result


VERIFIERS = {
    "campsite": Verifier(campsite, ("grid", "row_constraints", "col_constraints")),
    "kukurasu": Verifier(kukurasu, ("row_sums", "col_sums")),
    "minesweeper": Verifier(minesweeper, ("current_mines",)),
    "norinori": Verifier(norinori, ("region_grid",)),
    "number_wall": Verifier(number_wall, ("grid",)),
    "star_placement_puzzle": Verifier(star_placement_puzzle, ("n", "k", "region_grid")),
}
