"""How every benchmark measures and shows: variants interleaved round by round, ratios within a round, medians.

CPU time of the process (`time.process_time`, all threads) unless a benchmark says otherwise. The first variant of a
group is its baseline. Tables go to the terminal and, where a Markdown file is asked for, there as well.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

Variants = Mapping[str, Callable[[], object]]
Seconds = dict[str, list[float]]


def interleaved(group: Variants, rounds: int, clock: Callable[[], float] = time.process_time) -> Seconds:
    """Seconds of each variant, by round; a round before them warms up."""
    seconds: Seconds = {name: [] for name in group}
    for round_ in range(rounds + 1):
        for name, work in group.items():
            began = clock()
            work()
            if round_:
                seconds[name].append(clock() - began)
    return seconds


def ratio(of: Sequence[float], to: Sequence[float], scale: float = 1.0) -> str:
    """Median of the ratios of paired rounds, with their range: `1.02 (0.98 to 1.07)`."""
    ratios = [scale * a / b for a, b in zip(of, to, strict=True)]
    digits = 2 if statistics.median(ratios) < 10 else 0
    return f"{statistics.median(ratios):.{digits}f} ({min(ratios):.{digits}f} to {max(ratios):.{digits}f})"


class Pages:
    """The tables of a run of benchmarks: printed as they come, written together at the end."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def table(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
        """Print a table and keep it for the Markdown file."""
        shown = Table(title=title, title_justify="left", caption=note or None, caption_justify="left")
        for place, heading in enumerate(headings):
            shown.add_column(heading, justify="right" if place else "left")
        for row in rows:
            shown.add_row(*row)
        Console(width=120).print(shown)
        lines = [f"## {title}", "", "| " + " | ".join(headings) + " |", "|---|" + "---:|" * (len(headings) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        self._parts.append("\n".join([*lines, "", *([note, ""] if note else [])]))

    def write(self, path: Path, made_by: str) -> None:
        """Write the tables as a Markdown page, with the machine they come from."""
        machine = f"{platform.machine()} ({_processor()}), {os.cpu_count()} cores, Python {platform.python_version()}"
        about = (
            f"Made by `{made_by}` on {machine}, torch {torch.__version__}, {datetime.now(UTC).date()}. Ratios of one "
            "run are what to keep: a baseline and its rivals are measured in turn, round by round; the median is "
            "shown with the range over rounds. One thread, CPU time, where nothing else is said."
        )
        path.write_text("\n".join(["# Measured cost", "", about, "", *self._parts]), encoding="utf-8")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
