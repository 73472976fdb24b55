"""Does the push say what happens? It is set against the measured change of the same tokens, and against other runs.

Two questions, answered from runs that scored their steps' tokens again (`--probe_rescore`):

* Within a run, does the push summed over a step go along with the shift of log p(rank k), or of the entropy, that the
  step made, over all tokens, over forking tokens, and with the change of its mean to the next step, on other tokens?
* Across methods, does what right and wrong answers alone would have pushed on the reference's rollouts foretell what
  runs trained on right (PSR) and on wrong answers alone (NSR) do to Λ(k)?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .estimators import pearson
from .outcomes import RANKS, Outcomes
from .seed_bootstrap import Estimate, estimate

_SERIES = """
SELECT p.run, p.step, p.k, p.push, p.forking_push, p.shift, p.forking_shift,
       lead(l.token_mean) OVER following - l.token_mean AS next_change
FROM push p JOIN lambda_k l ON l.run = p.run AND l.step = p.step AND l.k = p.k AND l.verdict = 'all'
WHERE p.verdict = 'all' AND p.k <= 3
WINDOW following AS (PARTITION BY p.run, p.k ORDER BY p.step)
"""
_OF_ENTROPY = """
SELECT p.run, p.step, 0 AS k, p.entropy_push AS push, p.forking_push, p.shift, p.forking_shift,
       CASE WHEN lead(p.step) OVER following = p.step + 1
            THEN lead(m.entropy) OVER following - m.entropy END AS next_change
FROM entropy_push p
JOIN (SELECT run, step, sum(sum_entropy) / nullif(sum(n_tokens), 0) AS entropy FROM rollups GROUP BY run, step) m
  ON m.run = p.run AND m.step = p.step
WHERE p.verdict = 'all' AND p.complete
WINDOW following AS (PARTITION BY p.run ORDER BY p.step)
"""
_UNDER = """
SELECT method, run, k, avg(push) AS push
FROM (FROM push_under('psr') UNION ALL FROM push_under('nsr'))
WHERE verdict = 'all' AND k <= 3 AND step % {every} = 1 AND list_contains($1, run)
GROUP BY method, run, k
"""
_FEW = 10
"""Steps of which a correlation is worth a word."""

KINDS = {
    "same tokens": ("push", "shift"),
    "same forking tokens": ("forking_push", "forking_shift"),
    "next step, other tokens": ("push", "next_change"),
}


@dataclass(frozen=True)
class PushFit:
    """How well the push of a step goes along with what was measured, over the steps of each run.

    Attributes:
        label: whose runs.
        rank: of the candidate; None: push and change are those of the entropy.
        kind: one of `KINDS`.
        r: Pearson's r, mean over runs.
        agreement: share of steps in which both have the same sign, mean over runs.
    """

    label: str
    rank: int | None
    kind: str
    r: Estimate
    agreement: Estimate


def push_fits(outcomes: Outcomes) -> list[PushFit]:
    """Every label, rank (and the entropy) and kind that has runs with rescored steps."""
    series = pd.concat([outcomes.study.frame(sql) for sql in (_SERIES, _OF_ENTROPY)], ignore_index=True)
    fits = []
    for label in outcomes.labels:
        runs = [o.planned.run for o in outcomes.of(label).values()]
        for rank in (*RANKS, None):
            rows = series[(series["k"] == (rank or 0)) & series["run"].isin(runs)]
            for kind, (push, measured) in KINDS.items():
                parts = [part.dropna(subset=[push, measured]) for _, part in rows.groupby("run")]
                parts = [part for part in parts if len(part) >= _FEW and part["shift"].notna().any()]
                if not parts:
                    continue
                r = [pearson(part[push], part[measured]) for part in parts]
                same = [float((np.sign(part[push]) == np.sign(part[measured])).mean()) for part in parts]
                fits.append(PushFit(label, rank, kind, estimate(r), estimate(same)))
    return fits


@dataclass(frozen=True)
class Foretold:
    """What one kind of answers alone pushes on the reference's rollouts, beside what training on it alone has done.

    Attributes:
        method: `psr` or `nsr`.
        rank: of the candidate.
        push: counterfactual push per token on the reference's rollouts, over its runs.
        change: change of Λ(rank) from start to end in the method's own runs.
    """

    method: str
    rank: int
    push: Estimate
    change: Estimate

    @property
    def agrees(self) -> str:
        """Whether the signs agree: `yes`, `no`, or `undecided` where an interval holds 0."""
        if self.push.sign == 0 or self.change.sign == 0:
            return "undecided"
        return "yes" if self.push.sign == self.change.sign else "no"


def foretold(outcomes: Outcomes, reference: str, *, every: int = 16) -> list[Foretold]:
    """PSR's and NSR's push on the reference's rollouts (each `every`-th step) against their own runs."""
    runs = [o.planned.run for o in outcomes.of(reference).values()]
    pushed: pd.DataFrame | None = None
    result = []
    for method in ("psr", "nsr"):
        label = outcomes.study.label_of(method)
        if label is None or not runs:
            continue
        if pushed is None:
            pushed = outcomes.study.frame(_UNDER.format(every=every), runs)
        for rank in RANKS:
            rows = pushed[(pushed["method"] == method) & (pushed["k"] == rank)]
            change = outcomes.lambda_at(label, rank, change=True)
            result.append(Foretold(method, rank, estimate(rows["push"].to_numpy()), change))
    return result
