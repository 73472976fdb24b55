"""pass@k of a run beyond the size of its groups, over training, from rollouts alone: estimated, not measured.

A run is cut into windows of equal length. Responses to one problem in a window are put together, as draws at the
problem's mean success there. Up to the group's size pass@k is measured, without bias (Chen et al. 2021). Beyond it
`rollout_prior` estimates it, and `rollout_bounds` tells what the rollouts allow without that prior. All of it is about
the problems sampled in the window, by the policies that sampled them: not about held-out problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from .estimators import pass_at_k
from .rollout_bounds import Counts, bounds
from .rollout_prior import posterior_pass_at_k

LEVEL = 0.9
FEWEST_PROBLEMS = 100
"""Problems of a window below which nothing is estimated: calibrated with 240 and more, tested with 100."""
MOST_UNJUDGED = 0.05
"""Share of responses that may be unjudged; where more are, those judged may be the easier ones."""
KS = (8, 16, 32, 64, 128, 256)

_ROWS = """
SELECT p.step, p.prompt_id, p.n, p.c, r.n_responses
FROM problems p
JOIN (SELECT run, step, count(*) AS n_responses FROM responses WHERE group_id IS NOT NULL GROUP BY run, step) r
    USING (run, step)
WHERE p.source = 'rollouts' AND p.step > (SELECT coalesce(max(step), 0) FROM breaks)
ORDER BY p.step, p.prompt_id
"""


@dataclass(frozen=True)
class RolloutPassAtK:
    """pass@k at one k.

    Attributes:
        k: responses one may try.
        value: measured up to the group's size, else estimated.
        low, high: 90 % interval of the estimate; NaN where it is measured.
        least, most: what the rollouts alone allow, at 90 %; NaN where it is measured.
        measured: whether (nearly) every problem has k responses; then `value` is the mean over those that have.
    """

    k: int
    value: float
    low: float
    high: float
    least: float
    most: float
    measured: bool


@dataclass(frozen=True)
class RolloutWindow:
    """Part of a run.

    Attributes:
        first, last: steps with rollouts.
        problems: different ones that were sampled.
        responses: judged ones.
        estimates: by k; empty where `reason` says why.
        reason: why nothing is estimated.
    """

    first: int
    last: int
    problems: int
    responses: int
    estimates: tuple[RolloutPassAtK, ...] = ()
    reason: str | None = None


def estimate(n: Sequence[int], c: Sequence[int], ks: Sequence[int] = KS, *, seed: int = 0) -> list[RolloutPassAtK]:
    """pass@k of problems from few responses each.

    Args:
        n: (P,) judged responses, drawn independently for each problem.
        c: (P,) right ones among them.
        ks: ascending, from 1.
        seed: of the posterior's draws.

    Raises:
        ValueError: c is not within 0 and n, or no problem has a response.
    """
    counts = Counts.of(n, c)
    draws = posterior_pass_at_k(counts, ks, seed=seed)
    lows, highs = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    allowed = bounds(counts, ks, level=LEVEL)
    floor, nan, result = 0.0, float("nan"), []
    for place, k in enumerate(ks):
        enough = counts.n >= k
        if counts.problems[enough].sum() >= (1 - MOST_UNJUDGED) * counts.total:
            values = pass_at_k(counts.n[enough], counts.c[enough], k)
            floor = max(floor, float(np.average(values, weights=counts.problems[enough])))
            result.append(RolloutPassAtK(k, floor, nan, nan, nan, nan, True))
            continue
        floor = max(floor, float(draws[:, place].mean()))  # more tries never solve less
        low, high = min(float(lows[place]), floor), max(float(highs[place]), floor)
        least, most = allowed[place]
        result.append(RolloutPassAtK(k, floor, low, high, least, most, False))
    return result


def over_training(
    connection: duckdb.DuckDBPyConnection, info: Mapping[str, Any], ks: Sequence[int] = KS, *, windows: int = 5
) -> list[RolloutWindow]:
    """The estimates of a run by window, since its figures last changed their meaning.

    Args:
        connection: with the views, on the one run.
        info: the run's `run.json`.
        ks: ascending, from 1.
        windows: into how many the run's steps are cut.

    Returns:
        The windows that have rollouts, each with estimates or with the reason why not.
    """
    rows = connection.execute(_ROWS).df()
    if rows.empty:
        return []
    edges = np.linspace(int(rows.step.min()), int(rows.step.max()) + 1, windows + 1)
    place = np.searchsorted(edges, rows.step.to_numpy(), side="right") - 1
    chosen = _chosen_by_outcome(info)
    return [_window(part, ks, chosen) for _, part in rows.groupby(place)]


def _window(rows: pd.DataFrame, ks: Sequence[int], reason: str | None) -> RolloutWindow:
    sums = rows[rows.n > 0].groupby("prompt_id")[["n", "c"]].sum()
    judged, sampled = int(sums.n.sum()), int(rows.drop_duplicates("step").n_responses.sum())
    if reason is None and len(sums) < FEWEST_PROBLEMS:
        reason = f"{len(sums)} problems were sampled, of {FEWEST_PROBLEMS} needed"
    if reason is None and judged < (1 - MOST_UNJUDGED) * sampled:
        reason = f"{1 - judged / sampled:.0%} of the responses are unjudged"
    if reason is None and sums.n.max() < 2:
        reason = "one response per problem tells nothing of how success differs between problems"
    estimates = () if reason else tuple(estimate(sums.n.tolist(), sums.c.tolist(), ks))
    return RolloutWindow(int(rows.step.min()), int(rows.step.max()), len(sums), judged, estimates, reason)


def _chosen_by_outcome(info: Mapping[str, Any]) -> str | None:
    """Why the logged groups are no fair sample of the problems, if they are none."""
    for name in ("config", "hyperparameters"):
        options = info.get(name)
        rounds = options.get("dynamic_sampling_rounds") if isinstance(options, Mapping) else None
        if isinstance(rounds, int) and rounds > 1:
            return f"dynamic sampling replaced groups by their outcome (dynamic_sampling_rounds {rounds})"
    return None
