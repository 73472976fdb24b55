"""Makes the task of a benchmark from its catalogue entry: reads its rows, counts them, writes its prompts."""

from __future__ import annotations

import logging
import random
from typing import Any

from ..errors import TaskOptionRefused
from .base import Task
from .catalogue import Benchmark
from .dataset import read_rows

_OTHER_COUNTS = {
    "amc23": {83: "the AMC problems of 2022 and 2023, as other suites have them"},
    "olympiadbench": {674: "the hub's copy, which has one problem less"},
}
"""Benchmark → a number of rows that other copies are known to have, and what they are."""

_log = logging.getLogger(__name__)


def make_benchmark(
    entry: Benchmark, dataset: str | None, tokenizer: Any, prompt_style: str | None, limit: int | None
) -> Task:
    """See `benchmark_for`."""
    make = {"math": _math, "reasoning_gym": _generated}.get(entry.grader, _puzzles)
    return make(entry, dataset, tokenizer, prompt_style, limit)


def _math(entry: Benchmark, dataset: str | None, tokenizer: Any, style: str | None, limit: int | None) -> Task:
    from .math import MathTask

    task = MathTask(
        entry.name,
        None,
        None,
        tokenizer=tokenizer,
        prompt_style=style,
        max_completion_length=entry.max_completion_length,
        settings=entry,
    )
    source = dataset or entry.source
    name, rows = read_rows(source, "eval")
    problems = task.dataset_of(rows, name, source)
    check_count(entry, len(rows), source)
    task.heldout = some(problems, limit)
    return task


def _puzzles(entry: Benchmark, dataset: str | None, tokenizer: Any, style: str | None, limit: int | None) -> Task:
    from .puzzles import PuzzleTask, numbered, subtask_rows

    task = PuzzleTask(entry, tokenizer=tokenizer, prompt_style=style)
    source = dataset or entry.source
    rows = subtask_rows(entry.name, source) if entry.grader == "bbh" else numbered(source, "eval")
    problems = task.dataset_of(rows, source)
    check_count(entry, len(rows), source)
    task.heldout = some(problems, limit)
    return task


def _generated(entry: Benchmark, dataset: str | None, tokenizer: Any, style: str | None, limit: int | None) -> Task:
    from .reasoning_gym import ReasoningGymTask

    if dataset is not None:
        raise TaskOptionRefused(f"{entry.name} makes its own problems; leave out --dataset")
    task = ReasoningGymTask(entry.name.partition(":")[2], tokenizer=tokenizer, prompt_style=style)
    task.heldout = some(task.heldout, limit)
    return task


def check_count(entry: Benchmark, rows: int, source: str) -> None:
    """Warn of a number of rows that is not the published one."""
    if entry.rows is None or rows == entry.rows:
        return
    known = _OTHER_COUNTS.get(entry.name, {}).get(rows)
    about = f" ({known})" if known else ""
    _log.warning(
        "%s: %s has %d rows, not %d%s; figures are not comparable with published ones",
        entry.name, source, rows, entry.rows, about,
    )  # fmt: skip


def some(rows: Any, limit: int | None) -> Any:
    """At most so many problems, drawn once and for all: every evaluation sees the same ones."""
    if limit is None or limit >= len(rows):
        return rows
    return rows.select(sorted(random.Random(0).sample(range(len(rows)), limit)))
