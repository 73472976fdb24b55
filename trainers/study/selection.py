"""Chooses hyper-parameters: the point of a grid with the highest pass@k on validation problems.

The score of a selection run is a sum of pass@k at its last evaluation, read from its log by SQL; the score of a point
is the mean over the selection seeds; the first of the grid's order wins a tie. A choice is made once every run of its
grid has finished, never among the ones that happened to. Choices follow from the logs alone, so they are made again
whenever a study is called, and never stored to be read back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...store import open as open_run
from ...store.errors import UsageError
from .folders import checked_state
from .plan import Plan, PlannedRun
from .reading import Grid, Options
from .specification import SHARED

SPLIT = "validation"
_PASS_AT_K = """
WITH available AS (SELECT * FROM pass_at_k WHERE split = ? AND source IN ('exact', 'sampled'))
SELECT k, pass_at_k FROM available
WHERE step = (SELECT max(step) FROM available) AND source = (SELECT min(source) FROM available)
"""


@dataclass(frozen=True)
class Score:
    """What a selection run reached with its point of the grid."""

    label: str
    options: Options
    seed: int
    score: float


def choices(plan: Plan) -> tuple[dict[str, Options], list[Score]]:
    """What the finished selection runs choose.

    Returns:
        `shared` or label → options, of the grids that are searched to the end; the score of every run of those.

    Raises:
        UsageError: a selection run that is there was run with other options, or without validation problems.
    """
    chosen: dict[str, Options] = {}
    scores: list[Score] = []
    for stage in plan.stages():
        if stage != [SHARED] and plan.study.selection.shared and SHARED not in chosen:
            break
        for label in stage:
            runs = plan.search(label, chosen)
            if any(checked_state(run) != "done" for run in runs):
                continue
            grid, maximise = criterion(plan, label)
            result = [Score(label, _point(run, grid), run.seed, score(run.folder, maximise)) for run in runs]
            chosen[label] = best(result)
            scores += result
    return chosen, scores


def criterion(plan: Plan, label: str) -> tuple[Grid, tuple[int, ...]]:
    """A grid, and the k whose pass@k it maximises."""
    selection = plan.study.selection
    if label == SHARED:
        return selection.shared or {}, selection.shared_maximise
    return plan.study.entry(label).grid, selection.maximise


def score(run_dir: Path, maximise: Sequence[int], split: str = SPLIT) -> float:
    """The sum of a run's pass@k at its last evaluation.

    Raises:
        UsageError: its log does not tell one of them.
    """
    with open_run(run_dir) as connection:
        available = dict(connection.execute(_PASS_AT_K, [split]).fetchall())
    if missing := [k for k in maximise if k not in available]:
        raise UsageError(
            f"{run_dir} has no pass@{missing[0]} on {split} problems to choose by; see --pass_at_k_steps and "
            "--pass_at_k_samples"
        )
    return float(sum(available[k] for k in maximise))


def best(scores: Sequence[Score]) -> Options:
    """The options with the highest mean score; a run whose pass@k is NaN has diverged and never wins."""
    result: list[tuple[Options, list[float]]] = []
    for item in scores:
        value = -math.inf if math.isnan(item.score) else item.score
        values = next((values for options, values in result if options == item.options), None)
        if values is None:
            result.append((item.options, [value]))
        else:
            values.append(value)
    return max(result, key=lambda entry: sum(entry[1]) / len(entry[1]))[0]


def _point(run: PlannedRun, grid: Grid) -> Options:
    return {name: run.options[name] for name in grid}
