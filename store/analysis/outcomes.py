"""What each run of a study came to: pass@k of every problem at every evaluation, and Λ(k) at the start and the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..layout.schema import K_GRID, K_SHOWN
from .estimators import pass_at_k, pass_at_k_exact
from .seed_bootstrap import Estimate, estimate
from .study_folder import Study, StudyRun

Array = npt.NDArray[np.float64]
RANKS = (1, 2, 3)

_EVALS = """
SELECT run, step, prompt_id, n, c, success FROM evals
WHERE split = $1 AND source = (SELECT min(source) FROM evals WHERE split = $1)
ORDER BY run, step, prompt_id
"""
_ENDS = """
WITH ends AS (
    SELECT run, min(step) AS first, max(step) AS last, greatest(1, (max(step) - min(step) + 1) // 40) AS width
    FROM lambda_k WHERE verdict = 'all' AND complete GROUP BY run
),
part AS (
    SELECT l.run, k, lambda_k, n_responses, CASE WHEN step < first + width THEN 'start' ELSE 'finish' END AS part
    FROM lambda_k l JOIN ends e ON e.run = l.run
    WHERE verdict = 'all' AND k <= 3 AND (step < first + width OR step > last - width)
)
SELECT run, k, sum(lambda_k * n_responses) FILTER (part = 'start') / sum(n_responses) FILTER (part = 'start') AS start,
       sum(lambda_k * n_responses) FILTER (part = 'finish') / sum(n_responses) FILTER (part = 'finish') AS finish
FROM part GROUP BY run, k
"""


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        planned: which one.
        steps: (E,) optimizer steps done at the evaluations.
        passes: k → (E, P) pass@k of each held-out problem, for every k of `K_GRID` it can tell; columns of all runs of
            a study are the same problems.
        start, finish: (3,) Λ(1..3) over the first and the last fortieth of the steps.
        validation: k → (E, Q) pass@k of each validation problem at the same steps; empty where they differ or are none.
    """

    planned: StudyRun
    steps: npt.NDArray[np.int64]
    passes: dict[int, Array]
    start: Array
    finish: Array
    validation: dict[int, Array] = field(default_factory=dict)

    def final(self, k: int) -> Array:
        """(P,) pass@k of each problem after training."""
        last: Array = self.passes[k][-1]
        return last

    def mean(self, k: int) -> Array:
        """(E,) pass@k over problems at each evaluation."""
        means: Array = self.passes[k].mean(1)
        return means


class Outcomes:
    """Every finished run of a study, and estimates over seeds.

    Attributes:
        by_run: run → outcome.
        left_out: finished runs that cannot be compared, and why.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        evals = dict(list(study.frame(_EVALS, "heldout").groupby("run", sort=False)))
        validation = dict(list(study.frame(_EVALS, "validation").groupby("run", sort=False)))
        ends = study.frame(_ENDS).pivot(index="run", columns="k", values=["start", "finish"])
        self.by_run: dict[str, Outcome] = {}
        self.left_out: dict[str, str] = {}
        problems = {run: tuple(rows["prompt_id"].unique()) for run, rows in evals.items()}
        usual = max(set(problems.values()), key=list(problems.values()).count, default=())
        for planned in study.runs:
            if planned.run not in evals:
                self.left_out[planned.run] = "finished without an evaluation on held-out problems"
            elif problems[planned.run] != usual:
                self.left_out[planned.run] = "evaluated on other problems than most runs: it cannot be paired with them"
            elif planned.run not in ends.index:
                self.left_out[planned.run] = "its log holds no steps"
            else:
                row = ends.loc[planned.run]
                start, finish = (row[name].reindex(RANKS).to_numpy(np.float64) for name in ("start", "finish"))
                steps, passes = _passes(evals[planned.run])
                beside = _beside(steps, validation.get(planned.run))
                self.by_run[planned.run] = Outcome(planned, steps, passes, start, finish, beside)

    @cached_property
    def ks(self) -> list[int]:
        """The k of tables and claims: those that every run can tell, up to the largest of `K_SHOWN`."""
        known = [k for k in K_GRID if all(k in outcome.passes for outcome in self.by_run.values())]
        return [k for k in known if k <= max(K_SHOWN)]

    @cached_property
    def labels(self) -> list[str]:
        """Labels with at least one run."""
        return [label for label in self.study.labels if self.of(label)]

    def of(self, label: str) -> dict[int, Outcome]:
        """Seed → outcome of a label's runs."""
        result = self.study.compared(label)
        return {seed: self.by_run[run.run] for seed, run in result.items() if run.run in self.by_run}

    def base(self, k: int) -> Estimate:
        """pass@k before training, over distinct base policies."""
        policies = {o.planned.base: o.passes[k][0] for o in self.by_run.values() if o.steps[0] == 0}
        return estimate(np.array(list(policies.values())))

    def pass_at(self, label: str, k: int) -> Estimate:
        """pass@k after training."""
        return estimate(np.array([o.final(k) for o in self.of(label).values()]))

    def lambda_at(self, label: str, rank: int, *, change: bool = False) -> Estimate:
        """Λ(rank) at the end, or its change from the start."""
        runs = self.of(label).values()
        return estimate([o.finish[rank - 1] - (o.start[rank - 1] if change else 0.0) for o in runs])

    def difference(self, label: str, reference: str, k: int) -> Estimate:
        """pass@k of a label minus the reference's, paired by seed and problem."""
        ours, theirs = self.of(label), self.of(reference)
        pairs = [ours[seed].final(k) - theirs[seed].final(k) for seed in ours if seed in theirs]
        return estimate(np.array(pairs))

    def lambda_difference(self, label: str, reference: str, rank: int) -> Estimate:
        """Λ(rank) at the end of a label minus the reference's, paired by seed."""
        ours, theirs = self.of(label), self.of(reference)
        return estimate([ours[s].finish[rank - 1] - theirs[s].finish[rank - 1] for s in ours if s in theirs])


def _beside(steps: npt.NDArray[np.int64], rows: object) -> dict[int, Array]:
    """pass@k of validation problems where they were evaluated at the same steps, else nothing."""
    if rows is None:
        return {}
    at, passes = _passes(rows)
    return passes if np.array_equal(at, steps) else {}


def _passes(rows: object) -> tuple[npt.NDArray[np.int64], dict[int, Array]]:
    """Steps (E,) and k → (E, P), from the rows of `evals` of a run, ordered by step and problem."""
    import pandas as pd

    assert isinstance(rows, pd.DataFrame)
    steps = np.unique(rows["step"].to_numpy(np.int64))
    shape = (len(steps), len(rows) // max(len(steps), 1))
    if rows["success"].notna().all():
        success = rows["success"].to_numpy(np.float64).reshape(shape)
        return steps, {k: pass_at_k_exact(success, k) for k in K_GRID}
    n, c = (rows[name].to_numpy(np.float64).reshape(shape) for name in ("n", "c"))
    available = {k: pass_at_k(n, c, k) for k in K_GRID}
    return steps, {k: values for k, values in available.items() if not np.isnan(values).any()}
