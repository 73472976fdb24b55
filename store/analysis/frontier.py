"""The control of equal pass@1: is a method beyond what the reference reaches by stopping early or learning slower?

Every checkpoint of the reference method is a point (pass@1, pass@k). Its frontier is their upper concave hull: each of
its points is reached by a checkpoint, or outdone by drawing every response from one of two (the mean of pass@1 is then
linear, that of pass@k concave). A method's final point lies above, on or below it at its own pass@1. Three sets:
`early-stopped` (checkpoints of the reference run of the same seed), `lr-scaled` (final points of the reference at other
learning rates, same seed) and `both`. A pass@1 higher than any point of the reference is `beyond`, where nothing can be
compared. Exact pass@k has no sampling noise, but the best of many checkpoints on the same problems is a slightly
flattering reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .outcomes import Outcome, Outcomes
from .seed_bootstrap import Estimate, draws, interval_of

Array = npt.NDArray[np.float64]
KINDS = ("both", "early-stopped", "lr-scaled")
_RESAMPLES = 400


@dataclass(frozen=True)
class Matched:
    """A method against the frontier.

    Attributes:
        label: the method's.
        k: of pass@k.
        kind: which points made the frontier.
        difference: pass@k minus the frontier's at the same pass@1, over the seeds that can be compared.
        beyond: seeds whose pass@1 no point of the reference reaches.
    """

    label: str
    k: int
    kind: str
    difference: Estimate
    beyond: int

    @property
    def verdict(self) -> str:
        """`above`, `on` or `below` the frontier, `beyond` it, or `undecided` with fewer than three seeds."""
        if self.beyond > self.difference.seeds:
            return "beyond"
        if self.difference.seeds < 3:
            return "undecided"
        return {1: "above", 0: "on", -1: "below"}[self.difference.sign]


def frontier_at(pass_at_1: float, points: Array) -> float:
    """pass@k of the frontier at a pass@1; NaN beyond its end.

    Args:
        pass_at_1: where.
        points: (N, 2) of the reference, (pass@1, pass@k).
    """
    order = points[np.lexsort((-points[:, 1], -points[:, 0]))]  # from the highest pass@1 down
    if pass_at_1 > order[0, 0] + 1e-12:
        return float("nan")
    best = np.maximum.accumulate(order[:, 1])
    unbeaten = order[np.concatenate([[True], order[1:, 1] > best[:-1]])]
    hull: list[Array] = []
    for point in unbeaten:
        while len(hull) > 1 and not _bends_outwards(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    corners = np.array(hull[::-1])
    return float(np.interp(pass_at_1, corners[:, 0], corners[:, 1]))


def _bends_outwards(a: Array, b: Array, c: Array) -> bool:
    """Whether b lies above the line from c up to a (pass@1 falls from a to c)."""
    rise = (a[0] - c[0]) * (b[1] - c[1]) - (a[1] - c[1]) * (b[0] - c[0])
    return bool(rise > 0)


def reference_points(outcomes: Outcomes, reference: str, seed: int, kind: str) -> list[tuple[Outcome, int]]:
    """The (run, evaluation) pairs of a seed that make the frontier."""
    own = outcomes.of(reference).get(seed)
    scaled = [o for o in outcomes.by_run.values() if o.planned.role == "frontier" and o.planned.seed == seed]
    runs = ([own] if own is not None else []) + scaled
    if kind == "early-stopped":
        return [] if own is None else [(own, e) for e in range(len(own.steps))]
    if kind == "lr-scaled":
        return [(o, len(o.steps) - 1) for o in runs] if scaled else []
    return [(o, e) for o in runs for e in range(len(o.steps))]


def matched(outcomes: Outcomes, label: str, reference: str, k: int, kind: str = "both") -> Matched:
    """A method's final point against the reference's frontier of the same seed, problems and seeds resampled."""
    result, resampled = [], []
    beyond = 0
    for seed, outcome in outcomes.of(label).items():
        points = reference_points(outcomes, reference, seed, kind)
        if not points:
            continue
        ones = np.array([o.passes[1][e] for o, e in points])
        many = np.array([o.passes[k][e] for o, e in points])
        one, several = outcome.final(1), outcome.final(k)
        at = several.mean() - frontier_at(one.mean(), np.column_stack([ones.mean(1), many.mean(1)]))
        if np.isnan(at):
            beyond += 1
            continue
        result.append(at)
        weights = draws(len(one), 1, _RESAMPLES) / len(one)
        x, y = weights @ ones.T, weights @ many.T
        a, b = weights @ one, weights @ several
        resampled.append([b[r] - frontier_at(a[r], np.column_stack([x[r], y[r]])) for r in range(_RESAMPLES)])
    if not result:
        return Matched(label, k, kind, interval_of(np.empty(0), np.empty(0)), beyond)
    by_resample = np.array(resampled)  # (S, R); a resample beyond the frontier tells nothing of that seed
    chosen = draws(len(result), 0, _RESAMPLES).T * ~np.isnan(by_resample)
    means = (chosen * np.nan_to_num(by_resample)).sum(0) / np.where(chosen.sum(0) > 0, chosen.sum(0), np.nan)
    return Matched(label, k, kind, interval_of(np.array(result), means), beyond)
