"""The control of equal pass@1: is a method beyond what the reference reaches by stopping early or learning slower?

Every checkpoint of the reference method is a point (pass@1, pass@k). Its frontier is their upper concave hull: each of
its points is reached by a checkpoint, or outdone by drawing every response from one of two (the mean of pass@1 is then
linear, that of pass@k concave). A method's final point lies above, on or below it at its own pass@1. Three sets:
`early-stopped` (checkpoints of the reference run of the same seed), `lr-scaled` (final points of the reference at other
learning rates, same seed) and `both`. A pass@1 higher than any point of the reference is `beyond`, where nothing can be
compared.

The best of many checkpoints on some problems owes part of its lead to these problems, so a comparison on the same ones
flatters the reference. `Matched.cross_fitted` chooses the checkpoints on one part of the problems and compares on the
other: on validation problems and held-out ones where both were evaluated, else on random halves of the held-out ones
in turn. The pass@1 that was equal on the one part may differ a little on the other.
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
_SPLITS = 200
"""Random halves that a cross-fitted figure is averaged over, each compared both ways."""


@dataclass(frozen=True)
class Matched:
    """A method against the frontier.

    Attributes:
        label: the method's.
        k: of pass@k.
        kind: which points made the frontier.
        same_problems: pass@k minus the frontier's at the same pass@1, over the seeds that can be compared; checkpoints
            chosen and compared on the same problems, which flatters the reference.
        cross_fitted: the same with checkpoints chosen on other problems than those compared on.
        chosen_on: `validation problems`, or `halves of the held-out problems`.
        beyond: seeds whose pass@1 no point of the reference reaches.
    """

    label: str
    k: int
    kind: str
    same_problems: Estimate
    cross_fitted: Estimate
    chosen_on: str
    beyond: int

    @property
    def verdict(self) -> str:
        """By the cross-fitted figure: `above`, `on`, `below`, `beyond`, or `undecided` with fewer than three seeds."""
        if self.beyond > self.cross_fitted.seeds:
            return "beyond"
        if self.cross_fitted.seeds < 3:
            return "undecided"
        return {1: "above", 0: "on", -1: "below"}[self.cross_fitted.sign]


@dataclass(frozen=True)
class Points:
    """A method's final point (P,) and the reference's points (N, P), pass@1 and pass@k of each problem."""

    one: Array
    several: Array
    ones: Array
    many: Array

    def weighted(self, weights: Array) -> tuple[Array, Array, Array, Array]:
        """Means over problems under each row of weights (R, P): (R,), (R,), (R, N), (R, N)."""
        return weights @ self.one, weights @ self.several, weights @ self.ones.T, weights @ self.many.T


def frontier_at(pass_at_1: float, points: Array) -> float:
    """pass@k of the frontier at a pass@1; NaN beyond its end.

    Args:
        pass_at_1: where.
        points: (N, 2) of the reference, (pass@1, pass@k).
    """
    return float(_mixture(pass_at_1, points[:, 0], points[:, 1]) @ points[:, 1])


def _mixture(at: float, x: Array, y: Array) -> Array:
    """The shares (N,) of the points that make the frontier at a pass@1, one or two of them; NaN beyond its end."""
    order = np.lexsort((-y, -x))  # from the highest pass@1 down
    highest = np.maximum.accumulate(y[order])
    unbeaten = order[np.concatenate([[True], y[order[1:]] > highest[:-1]])]
    shares = np.zeros(len(x))
    right = unbeaten[x[unbeaten] >= at - 1e-12]
    left = unbeaten[len(right) :]
    if not len(right):
        return np.full(len(x), np.nan)
    if not len(left):
        shares[right[-1]] = 1.0
        return shares
    to_the_right = np.clip((at - x[left]) / (x[right][:, None] - x[left]), 0.0, 1.0)
    height = y[left] + to_the_right * (y[right][:, None] - y[left])
    r, s = np.unravel_index(height.argmax(), height.shape)  # the highest line between a point on each side
    shares[right[r]], shares[left[s]] = to_the_right[r, s], 1.0 - to_the_right[r, s]
    return shares


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
    same: list[tuple[float, Array]] = []
    crossed: list[tuple[float, Array]] = []
    beyond, by_validation = 0, True
    for seed, outcome in outcomes.of(label).items():
        pairs = reference_points(outcomes, reference, seed, kind)
        if not pairs:
            continue
        heldout = _points(outcome, pairs, k)
        validation = _points(outcome, pairs, k, validation=True) if _have_validation(outcome, pairs, k) else None
        by_validation &= validation is not None
        result = on_same_problems(heldout)
        if np.isnan(result[0]):
            beyond += 1
            continue
        same.append(result)
        crossed.append(cross_fitted(heldout, validation))
    crossed = [result for result in crossed if not np.isnan(result[0])]
    chosen_on = "validation problems" if crossed and by_validation else "halves of the held-out problems"
    return Matched(label, k, kind, _over_seeds(same), _over_seeds(crossed), chosen_on, beyond)


def _points(outcome: Outcome, pairs: list[tuple[Outcome, int]], k: int, *, validation: bool = False) -> Points:
    def passes(of: Outcome, at: int) -> dict[int, Array]:
        return of.validation if validation else of.passes

    ones, many = (np.array([passes(o, n)[n][e] for o, e in pairs]) for n in (1, k))
    return Points(passes(outcome, 1)[1][-1], passes(outcome, k)[k][-1], ones, many)


def _have_validation(outcome: Outcome, pairs: list[tuple[Outcome, int]], k: int) -> bool:
    """Whether the same validation problems were evaluated whenever the held-out ones were."""
    runs = [outcome, *(o for o, _ in pairs)]
    shapes = {o.validation[n].shape[1] for o in runs for n in (1, k) if n in o.validation}
    return len(shapes) == 1 and all(
        n in o.validation and len(o.validation[n]) == len(o.steps) for o in runs for n in (1, k)
    )


def on_same_problems(points: Points, *, resamples: int = _RESAMPLES) -> tuple[float, Array]:
    """(value, (R,) resamples): pass@k minus the frontier's at the same pass@1, all on the same problems."""
    weights = _all_and_drawn(len(points.one), 1, resamples)
    values = _compared(points, weights, points, weights)
    return float(values[0]), values[1:]


def _all_and_drawn(p: int, seed: int, resamples: int) -> Array:
    """(1 + R, P) weights of problems: all alike, then as drawn with replacement."""
    return np.vstack([np.full((1, p), 1 / p), draws(p, seed, resamples) / p])


def _compared(choose: Points, choosing: Array, compare: Points, comparing: Array) -> Array:
    """(R,) pass@k minus the frontier's: its points chosen under some weights, all figures under others.

    Args:
        choose, compare: on the problems chosen on and compared on.
        choosing: (R, P) weights of the problems chosen on.
        comparing: (R, Q) weights of the problems compared on.
    """
    at, _, x, y = choose.weighted(choosing)
    shares = np.array([_mixture(*row) for row in zip(at, x, y, strict=True)])
    _, several, _, many = compare.weighted(comparing)
    result: Array = several - (shares * many).sum(1)
    return result


def cross_fitted(
    heldout: Points, validation: Points | None = None, *, resamples: int = _RESAMPLES, splits: int = _SPLITS
) -> tuple[float, Array]:
    """pass@k minus the frontier's at the same pass@1, its checkpoints chosen on other problems than compared on.

    Args:
        heldout: on the problems compared on.
        validation: on the problems chosen on; None: random halves of the held-out ones, both ways.
        resamples: of the problems.
        splits: random halves that the value is averaged over, at most `resamples`.

    Returns:
        (value, (R,) resampled values); NaN where the frontier does not reach the pass@1 in half of the splits.
    """
    p = len(heldout.one)
    if validation is not None:
        choosing = _all_and_drawn(len(validation.one), 2, resamples)
        comparing = _all_and_drawn(p, 1, resamples)
        values = _compared(validation, choosing, heldout, comparing)
        return float(values[0]), values[1:]
    if p < 2:
        return float("nan"), np.full(resamples, np.nan)
    rng = np.random.default_rng(3)
    first = rng.permuted(np.tile(np.arange(p) < p // 2, (resamples, 1)), axis=1)
    halves = [half / half.sum(1, keepdims=True) for half in (first, ~first)]
    drawn = [rng.multinomial(n, half) / n for n, half in zip((p // 2, p - p // 2), halves, strict=True)]
    by_split, resampled = (
        np.mean([_compared(heldout, w[i][:n], heldout, w[1 - i][:n]) for i in (0, 1)], axis=0)
        for w, n in ((halves, splits), (drawn, resamples))
    )
    known = ~np.isnan(by_split)
    return float(by_split[known].mean()) if known.mean() >= 0.5 else float("nan"), resampled


def _over_seeds(seeds: list[tuple[float, Array]]) -> Estimate:
    if not seeds:
        return interval_of(np.empty(0), np.empty(0))
    by_resample = np.array([resamples for _, resamples in seeds])  # (S, R); NaN: beyond in that resample
    chosen = draws(len(seeds), 0, _RESAMPLES).T * ~np.isnan(by_resample)
    means = (chosen * np.nan_to_num(by_resample)).sum(0) / np.where(chosen.sum(0) > 0, chosen.sum(0), np.nan)
    return interval_of(np.array([value for value, _ in seeds]), means)
