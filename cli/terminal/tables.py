"""Tables that fit the terminal: numbers lose digits first, then long text wraps, then columns are left out by name.

    table = Table(Column("run"), Column("Λ(1)", numeric=True), Column("begun", importance=-1))
    table.add("first", number(-0.1563, 3), "2026-01-01")
    table.print()

Names and text stay whole. What is left out is named in a line after the table. In a pipe nothing is fitted: every
column is there, at its natural width.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from rich.cells import cell_len, chop_cells, set_cell_size

from .output import encodable, printable

Cell = str | Callable[[int], str]
"""Text, or a number: a function of how many digits fewer it should have (0, 1, 2)."""

_FEWEST = 2
_GAP = 2
_NARROWEST = 20


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: its name.
        numeric: aligned at the right, and its digits can be fewer.
        wraps: its text may take several lines.
        importance: columns of the least importance are left out first, the rightmost of equal ones; the first column
            of a table always stays.
    """

    heading: str
    numeric: bool = False
    wraps: bool = False
    importance: int = 0


class Table:
    """Rows under columns, without lines."""

    def __init__(self, *columns: Column) -> None:
        self.columns = columns
        self.rows: list[tuple[Cell, ...]] = []

    def add(self, *cells: object) -> None:
        """Add a row: text, numbers made by `number`, or anything else as its text; None is an empty cell."""
        self.rows.append(tuple(cell if callable(cell) else _shown(cell) for cell in cells))

    def print(self, *, everything: bool = False, hint: str = "--all shows every column") -> None:
        """Print on standard output, fitted to the terminal unless `everything` is asked for."""
        lines = self.lines(None if everything else terminal_width(), hint=hint)
        if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR"):
            lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
        print("\n".join(lines))

    def write(self, file: IO[str], width: int | None, *, hint: str) -> None:
        """Write to an open file, without any style."""
        file.writelines(f"{line}\n" for line in self.lines(width, hint=hint))

    def lines(self, width: int | None, *, hint: str = "") -> list[str]:
        """The table as lines, the headings first; `width` None is as wide as it takes.

        Args:
            width: of the terminal, in cells.
            hint: how to get all columns, printed where some are left out.
        """
        texts = [self._texts(fewer) for fewer in range(_FEWEST + 1)]
        kept = list(range(len(self.columns)))
        width = sys.maxsize if width is None else width
        while True:
            for rows in texts:
                widths = [max(cell_len(row[place]) for row in rows) for place in kept]
                if _total(widths) <= width or len(kept) == 1:
                    return self._drawn(rows, kept, widths, hint)
            widths = self._wrapped(widths, kept, width)
            if _total(widths) <= width:
                return self._drawn(texts[-1], kept, widths, hint)
            kept.remove(min(kept[1:], key=lambda place: (self.columns[place].importance, -place)))

    def _texts(self, fewer: int) -> list[list[str]]:
        """Headings and rows as text."""
        cells: Iterable[Sequence[Cell]] = ([column.heading for column in self.columns], *self.rows)
        return [[encodable(printable(c(fewer) if callable(c) else c)) for c in row] for row in cells]

    def _wrapped(self, widths: Sequence[int], kept: Sequence[int], width: int) -> list[int]:
        """Widths with the columns that wrap as narrow as they have to be."""
        result = list(widths)
        while _total(result) > width:
            wrapping = [i for i, place in enumerate(kept) if self.columns[place].wraps and result[i] > _NARROWEST]
            if not wrapping:
                break
            result[max(wrapping, key=lambda i: result[i])] -= 1
        return result

    def _drawn(self, rows: Sequence[Sequence[str]], kept: Sequence[int], widths: Sequence[int], hint: str) -> list[str]:
        lines = []
        for row in rows:
            pieces = [_folded(row[place], size) for place, size in zip(kept, widths, strict=True)]
            for line in range(max(map(len, pieces))):
                cells = [piece[line] if line < len(piece) else "" for piece in pieces]
                lines.append(self._line(cells, kept, widths))
        if missing := [column.heading for place, column in enumerate(self.columns) if place not in kept]:
            names = encodable(printable(", ".join(missing)))
            after = f"; {hint}" if hint else ""
            lines.append(f"{len(kept)} of {len(self.columns)} columns; not shown: {names}{after}")
        return lines

    def _line(self, cells: Sequence[str], kept: Sequence[int], widths: Sequence[int]) -> str:
        sized = []
        for cell, place, size in zip(cells, kept, widths, strict=True):
            numeric = self.columns[place].numeric
            sized.append(" " * (size - cell_len(cell)) + cell if numeric else set_cell_size(cell, size))
        return (" " * _GAP).join(sized).rstrip()


def number(value: float | None, decimals: int, *, least: int = 2, sign: str = "", after: str = "") -> Cell:
    """A number with so many decimals, and `least` where room is short; empty where there is none.

    Args:
        value: the number; None and NaN are empty cells.
        decimals: digits after the point.
        least: digits after the point at least.
        sign: "+" to show it always.
        after: text that follows.
    """
    if value is None or math.isnan(value):
        return ""
    known = float(value)
    return lambda fewer: f"{known:{sign}.{max(min(least, decimals), decimals - fewer)}f}{after}"


def significant(value: float, digits: int = 5) -> Cell:
    """A number with so many significant digits, two fewer where room is short."""
    return lambda fewer: f"{value:.{digits - fewer}g}"


def terminal_width() -> int | None:
    """Cells in a line of the terminal; None where standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _folded(text: str, width: int) -> list[str]:
    """Text in lines of so many cells, broken between words where it can be."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        for piece in chop_cells(word, width) or [""]:
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cell_len(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    return lines
