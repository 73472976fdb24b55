"""What rollouts alone allow of pass@k beyond the size of a group, whatever the distribution of difficulty.

Each problem has a probability p of a right response, drawn from an unknown distribution G, and c of its n responses are
right, binomially. Every G whose likelihood is close to the best one is allowed:

    low, high = min, max of ∫ 1 − (1 − p)^k dG   over G with   log L(G) ≥ max log L − χ²₁(level) / 2

G is any distribution on a fixed grid of p from 0 to 1, so both ends are convex programs, solved by a log barrier. With
ever more problems the bounds become the sharp ones of the first n moments of G. They stay apart at k > n, since n
responses tell n moments.

Source: nonparametric mixing distributions, Lindsay 1995; profile likelihood, Murphy & van der Vaart 2000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CHI_SQUARED_1 = {0.9: 2.7055, 0.95: 3.8415}
"""Quantiles of χ² with one degree of freedom, by level."""
_NEAR_0 = np.geomspace(1e-5, 0.05, 41)
GRID: Array = np.concatenate([[0.0], _NEAR_0, np.linspace(0.05, 1.0, 58)[1:]])
"""Success probabilities that G may have: dense near 0, where pass@k of a large k is decided."""
_ROUNDS = 60
_LAST_MU = 1e-8


@dataclass(frozen=True)
class Counts:
    """Problems counted by how many responses they had and how many were right.

    Attributes:
        n: (C,) responses.
        c: (C,) right ones among them.
        problems: (C,) problems with that n and c; at least 1.
    """

    n: Array
    c: Array
    problems: Array

    @classmethod
    def of(cls, n: npt.ArrayLike, c: npt.ArrayLike) -> Counts:
        """Count problems, (P,) each; those without a judged response are left out.

        Raises:
            ValueError: c is not within 0 and n.
        """
        pairs = np.stack([np.asarray(n, np.float64), np.asarray(c, np.float64)], axis=1)
        pairs = pairs[pairs[:, 0] > 0]
        if not ((pairs[:, 1] >= 0) & (pairs[:, 1] <= pairs[:, 0])).all():
            raise ValueError("c: right responses must be between 0 and n")
        cells, problems = np.unique(pairs, axis=0, return_counts=True)
        return cls(cells[:, 0], cells[:, 1], problems.astype(np.float64))

    @property
    def total(self) -> int:
        """Problems in all."""
        return int(self.problems.sum())

    def likelihood(self, p: Array) -> Array:
        """(C, G) likelihood of each cell at success p (G,), without the binomial coefficient."""
        with np.errstate(divide="ignore", invalid="ignore"):
            right = np.where(self.c[:, None] > 0, self.c[:, None] * np.log(p), 0.0)
            wrong = np.where(self.n[:, None] > self.c[:, None], (self.n - self.c)[:, None] * np.log1p(-p), 0.0)
        result: Array = np.exp(right + wrong)
        return result


def bounds(counts: Counts, ks: Sequence[int], *, level: float = 0.9) -> list[tuple[float, float]]:
    """The least and the largest pass@k that the rollouts allow, for each k.

    Args:
        counts: of the problems.
        ks: responses one may try, from 1, ascending.
        level: .9 or .95; that of a profile-likelihood interval, for each k on its own.

    Returns:
        (low, high) per k, neither of them falling in k. (0, 1) without problems.

    Raises:
        KeyError: another level.
    """
    if not counts.total:
        return [(0.0, 1.0)] * len(ks)
    drop = CHI_SQUARED_1[level] / 2
    likelihood = counts.likelihood(GRID)
    likelihood = likelihood / likelihood.max(axis=1, keepdims=True)  # what is common to a cell changes no difference
    start = np.full(len(GRID), 1 / len(GRID))
    fit = _centre(likelihood, counts.problems, start)
    floor = _loglik(likelihood, counts.problems, fit) - drop
    result = []
    for k in ks:
        solved = -np.expm1(k * np.log1p(-np.minimum(GRID, 1 - 1e-16)))
        low, high = (
            float(solved @ _extreme(likelihood, counts.problems, sign * solved, fit, floor)) for sign in (-1, 1)
        )
        result.append((low, high))
    gap = _LAST_MU * (len(GRID) + 1)  # how far at most the barrier stops short of an end
    outer = np.array(result) + np.array([-gap, gap])
    lows, highs = np.maximum.accumulate(np.clip(outer, 0.0, 1.0), axis=0).T
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


def _loglik(likelihood: Array, problems: Array, weights: Array) -> float:
    return float(problems @ np.log(likelihood @ weights))


def _centre(likelihood: Array, problems: Array, weights: Array) -> Array:
    """Nearly the maximum of the likelihood, with every weight above 0."""
    for mu in np.geomspace(problems.sum(), 1e-3, 18) / len(GRID):
        for _ in range(_ROUNDS):
            mixed = likelihood @ weights
            gradient = likelihood.T @ (problems / mixed) + mu / weights
            root = likelihood.T * (np.sqrt(problems) / mixed)
            step, decrement = _newton(gradient, root, weights, mu)
            weights = _moved(weights, step, lambda w, mu=mu: _loglik(likelihood, problems, w) + mu * np.log(w).sum())
            if decrement < 1e-4 * mu:
                break
    return weights


def _extreme(likelihood: Array, problems: Array, solved: Array, weights: Array, floor: float) -> Array:
    """The weights with the largest `solved @ weights` among those with a log-likelihood above the floor."""
    for mu in np.geomspace(1e-2, _LAST_MU, 13):

        def value(w: Array, mu: float = mu) -> float:
            room = _loglik(likelihood, problems, w) - floor
            return float(solved @ w + mu * (np.log(room) + np.log(w).sum())) if room > 0 else -np.inf

        for _ in range(_ROUNDS):
            mixed = likelihood @ weights
            room = float(problems @ np.log(mixed)) - floor
            slope = likelihood.T @ (problems / mixed)
            gradient = solved + mu * (slope / room + 1 / weights)
            root = np.column_stack([likelihood.T * (np.sqrt(mu * problems / room) / mixed), np.sqrt(mu) * slope / room])
            step, decrement = _newton(gradient, root, weights, mu)
            weights = _moved(weights, step, value)
            if decrement < 1e-2 * mu:
                break
    return weights


def _newton(gradient: Array, root: Array, weights: Array, mu: float) -> tuple[Array, float]:
    """Newton's step for a Hessian −(root rootᵀ + μ/w²) that keeps the sum of the weights; and its decrement.

    By Woodbury's identity in as many unknowns as `root` has columns, scaled by the weights.
    """
    scale = weights**2 / mu
    small = np.eye(root.shape[1]) + root.T @ (scale[:, None] * root)

    def solve(right: Array) -> Array:
        scaled = scale * right
        solution: Array = scaled - scale * (root @ np.linalg.solve(small, root.T @ scaled))
        return solution

    of_gradient, of_ones = solve(gradient), solve(np.ones(len(weights)))
    step = of_gradient - of_ones * (of_gradient.sum() / of_ones.sum())
    return step, float(gradient @ step)


def _moved(weights: Array, step: Array, value: object) -> Array:
    """Backtrack from the longest step that keeps every weight above 0 until the value does not fall."""
    assert callable(value)
    shrinking = step < 0
    longest = 0.95 * float((weights[shrinking] / -step[shrinking]).min()) if shrinking.any() else 1.0
    length, before = min(1.0, longest), value(weights)
    for _ in range(40):
        after = weights + length * step
        if value(after) >= before:
            return np.asarray(after / after.sum(), np.float64)
        length /= 2
    return weights
