"""A base model and a tuned one: what became of pass@k, of Λ(k) on the same tokens, of single problems and of tokens.

Differences are tuned minus base. Intervals are 95 % bootstrap intervals that draw problems, since responses to one
problem are alike, widened as for few seeds (`seed_bootstrap.tails`). On the same tokens only the probabilities differ,
so that Λ(k) there is free of the noise of other samples and of other states. Read from the four runs of a diagnosis by
SQL (`diagnosis_folder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import RunNotFound
from ..layout.run import RUN_FILE
from ..layout.schema import K_GRID, K_SHOWN
from ..reading.catalog import Catalog
from .diagnosis_folder import BASE, CELLS, SIDES, TUNED, cell, read_diagnosis
from .estimators import bootstrap_interval, clustered_interval, fisher_exact, holm, pass_at_k, pass_at_k_exact
from .scored_figures import ScoredFigures, scored_figures
from .seed_bootstrap import tails
from .verdict_on_pair import Change, verdict

_EVALS = """
SELECT prompt_id, n, c, success FROM evals
WHERE run = $1 AND source = $2 AND evaluation = $3 ORDER BY prompt_id
"""
_RESPONSES = """
SELECT r.prompt_id, b.response_id, {means}
FROM tokens b
JOIN tokens t ON t.run = $2 AND t.response_id = b.response_id AND t.position = b.position
JOIN responses r ON r.run = b.run AND r.attempt = b.attempt AND r.response_id = b.response_id
WHERE b.run = $1 AND isfinite(b.logprob) AND isfinite(t.logprob)
GROUP BY ALL ORDER BY ALL
"""
_PAIRS = """
SELECT coalesce(b.text, '') AS text, b.token_id, count(*) AS n, count(DISTINCT b.response_id) AS responses,
       exp(avg(b.logprob)) AS p_base, exp(avg(t.logprob)) AS p_tuned,
       avg(t.logprob - b.logprob) AS change, sum(t.logprob - b.logprob) AS total,
       avg((b.rank = 1)::INT) AS first_base, avg((t.rank = 1)::INT) AS first_tuned,
       avg(t.rank - b.rank) AS rank_change
FROM tokens b JOIN tokens t ON t.run = $2 AND t.response_id = b.response_id AND t.position = b.position
WHERE b.run = $1 AND isfinite(b.logprob) AND isfinite(t.logprob)
GROUP BY b.text, b.token_id ORDER BY abs(sum(t.logprob - b.logprob)) DESC, b.token_id LIMIT $3
"""
_LEVEL = 0.05
RANKS = (1, 2, 3)
_FIGURES = (*(f"Λ({k})" for k in RANKS), "Λ sampled", "entropy")
_COLUMNS = (*(f"logp_{k}" for k in RANKS), "logprob", "entropy")


@dataclass(frozen=True)
class PassChange:
    """pass@k of both models on the same problems, with intervals, and the paired difference."""

    source: str
    k: int
    base: float
    base_interval: tuple[float, float]
    tuned: float
    tuned_interval: tuple[float, float]
    change: Change
    problems: int


@dataclass(frozen=True)
class SameTokens:
    """A figure on the responses of one model, under either model's probabilities."""

    whose: str
    base: float
    tuned: float
    change: Change


@dataclass(frozen=True)
class Problem:
    """One problem's counts, and Fisher's exact test of equal rates: its p-value and Holm's among all problems."""

    prompt_id: str
    base: tuple[int, int]
    tuned: tuple[int, int]
    p: float
    adjusted: float

    @property
    def change(self) -> float:
        """Of the share of right responses."""
        return self.tuned[1] / self.tuned[0] - self.base[1] / self.base[0]


@dataclass(frozen=True)
class TokenChange:
    """What became of one token of the vocabulary, over all places where one model's responses have it.

    Attributes:
        n, responses: places, and responses that have one.
        p_base, p_tuned: geometric means of its probability.
        change, total: mean and sum of log p under the tuned model less log p under the base model.
        first_base, first_tuned: share of the places where it is rank 1.
        rank_change: mean of the difference of its ranks.
    """

    text: str
    token_id: int
    n: int
    responses: int
    p_base: float
    p_tuned: float
    change: float
    total: float
    first_base: float
    first_tuned: float
    rank_change: float


@dataclass(frozen=True)
class Diagnosis:
    """Everything that is reported.

    Attributes:
        content: of `diagnosis.json`.
        passes: by source and k.
        cells: (whose responses, under whose probabilities) → figures.
        same_tokens: Λ(k), the log-prob of the responses' own tokens and the entropy.
        problems: the most significant first.
        tokens: whose responses → tokens, those that add most to the change of their log-likelihood first.
        sentence: the verdict.
    """

    content: dict[str, Any]
    passes: list[PassChange]
    cells: dict[tuple[str, str], ScoredFigures]
    same_tokens: list[SameTokens]
    problems: list[Problem]
    tokens: dict[str, list[TokenChange]]
    sentence: str
    warnings: list[str]

    @property
    def problem_counts(self) -> str:
        """How many problems were gained and lost, in words."""
        problems = self.problems
        gained, lost = _changed([problem for problem in problems if problem.adjusted < _LEVEL])
        up, down = _changed([problem for problem in problems if problem.p < _LEVEL])
        by_tuned = sum(not p.base[1] and p.tuned[1] > 0 for p in problems)
        by_base = sum(p.base[1] > 0 and not p.tuned[1] for p in problems)
        return (
            f"of {len(problems)} problems {gained} gained and {lost} lost beyond noise (Holm), {up} and {down} at "
            f"p < .05 each; {by_tuned} solved by the tuned model alone, {by_base} by the base model alone"
        )


def _changed(problems: Sequence[Problem]) -> tuple[int, int]:
    """How many of some problems are solved more often than before, and less often."""
    return sum(p.change > 0 for p in problems), sum(p.change < 0 for p in problems)


def diagnosis_of(folder: Path, *, tokens: int = 20) -> Diagnosis:
    """Read a diagnosis.

    Args:
        folder: of the diagnosis.
        tokens: how many changed tokens of either model's responses.

    Raises:
        RunNotFound: there is none, or it is not finished.
    """
    content = read_diagnosis(folder)
    for place in CELLS:
        if not (folder / cell(*place) / RUN_FILE).is_file():
            raise _unfinished(cell(*place))
    catalog = Catalog([folder / cell(*place) for place in CELLS], nested=False)
    catalog.leave_out_damaged_sums()
    connection = catalog.connection
    try:
        cells = {place: _figures(connection, cell(*place)) for place in CELLS}
        passes = [row for source in ("exact", "sampled") for row in _passes(connection, content, source)]
        same = [row for whose in SIDES for row in _same_tokens(connection, whose)]
        problems = _problems(connection, content)
        changed = {whose: _token_changes(connection, whose, tokens) for whose in SIDES}
    finally:
        connection.close()
    ends = [row.change for row in passes if row.k <= K_SHOWN[-1]]
    changes = {(row.whose, row.change.name): row.change for row in same}
    sentence = verdict(content[TUNED], content[BASE], ends, changes)
    return Diagnosis(content, passes, cells, same, problems, changed, sentence, list(catalog.problems))


def _figures(connection: Any, run: str) -> ScoredFigures:
    rows = scored_figures(connection, run)
    if not rows:
        raise _unfinished(run)
    return rows[0]


def _unfinished(run: str) -> RunNotFound:
    return RunNotFound(f"the diagnosis is not finished: {run} has not been scored; the same command goes on")


def _evals(connection: Any, content: dict[str, Any], source: str) -> pd.DataFrame:
    """prompt_id and the counts or the exact success of both, as far as both have it."""
    frames = [
        connection.execute(_EVALS, [side, source, content["evaluations"][side]]).df().set_index("prompt_id")
        for side in SIDES
    ]
    return frames[0].merge(frames[1], left_index=True, right_index=True, suffixes=("_base", "_tuned"))


def _passes(connection: Any, content: dict[str, Any], source: str) -> list[PassChange]:
    both = _evals(connection, content, source)
    result = []
    for k in K_GRID if len(both) else ():
        if source == "exact":
            values = [pass_at_k_exact(both[f"success_{side}"], k) for side in SIDES]
        else:
            values = [pass_at_k(both[f"n_{side}"], both[f"c_{side}"], k) for side in SIDES]
        known = ~np.isnan(values[0]) & ~np.isnan(values[1])
        if not known.any():
            continue
        base, tuned = (v[known] for v in values)
        level = _level(len(base))
        low, high = bootstrap_interval(tuned - base, level=level)
        change = Change(f"pass@{k}", float((tuned - base).mean()), float(low), float(high))
        intervals = [tuple(map(float, bootstrap_interval(v, level=level))) for v in (base, tuned)]
        result.append(
            PassChange(
                source, k, float(base.mean()), (intervals[0][0], intervals[0][1]), float(tuned.mean()),
                (intervals[1][0], intervals[1][1]), change, int(known.sum()),
            )
        )  # fmt: skip
    return result


def _same_tokens(connection: Any, whose: str) -> list[SameTokens]:
    means = ", ".join(f"avg({side}.{column}) AS {side}_{column}" for side in "bt" for column in _COLUMNS)
    runs = [cell(whose, BASE), cell(whose, TUNED)]
    frame = connection.execute(_RESPONSES.format(means=means), runs).df()
    if frame.empty:
        return []
    base, tuned = (frame[[f"{side}_{column}" for column in _COLUMNS]].to_numpy(np.float64) for side in "bt")
    problems = frame["prompt_id"].astype(str)
    low, high = clustered_interval(tuned - base, problems, level=_level(problems.nunique()))
    return [
        SameTokens(
            whose, float(base[:, i].mean()), float(tuned[:, i].mean()),
            Change(name, float((tuned - base)[:, i].mean()), float(low[i]), float(high[i])),
        )
        for i, name in enumerate(_FIGURES)
    ]  # fmt: skip


def _token_changes(connection: Any, whose: str, limit: int) -> list[TokenChange]:
    rows = connection.execute(_PAIRS, [cell(whose, BASE), cell(whose, TUNED), limit]).fetchall()
    return [TokenChange(*row) for row in rows]


def _level(problems: int) -> float:
    """Of a percentile interval over so many problems that covers about 95 %: that of few is too narrow."""
    low, high = tails(max(problems, 2))
    return high - low


def _problems(connection: Any, content: dict[str, Any]) -> list[Problem]:
    both = _evals(connection, content, "sampled")
    both = both[(both["n_base"] > 0) & (both["n_tuned"] > 0)]
    counts = [[int(value) for value in both[f"{name}_{side}"]] for side in SIDES for name in ("n", "c")]
    rows = [(str(name), (nb, cb), (nt, ct)) for name, nb, cb, nt, ct in zip(both.index, *counts, strict=True)]
    p = [fisher_exact((b[0], t[0]), (b[1], t[1])) for _, b, t in rows]
    problems = [Problem(*row, value, float(a)) for row, value, a in zip(rows, p, holm(p), strict=True)]
    return sorted(problems, key=lambda problem: (problem.p, problem.prompt_id))
