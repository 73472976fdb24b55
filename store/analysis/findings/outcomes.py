"""Rules about problems: what pass@k, lost problems and the spending of the gradient say.

Everything is paired: a problem is compared with itself, between two evaluations or between its first and last visit.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ...layout.schema import K_GRID
from ..estimators import bootstrap_interval, pass_at_k, pass_at_k_exact
from .rule import Judgement, Rule, Skip
from .run_log import RunLog, binomial_lower

FEWEST_PROBLEMS = 20
"""Problems compared, at least: an interval over fewer is as wide as any effect worth a warning."""
EXACT_K = 256
"""k where success is known exactly; sampled evaluations reach as far as their responses."""
PASS_FALL = 0.02
"""By how much pass@K has to fall for a warning, beside an interval that excludes 0: a fiftieth of the problems."""
LOST_SHARE = 0.05
"""Share of the problems that has to be lost."""
LOST_CHANCE = 0.01
"""One-sided exact p-value of as many lost against gained ones (McNemar)."""
MASTERED = 0.5
"""Share of the loss's weight on problems whose last rollouts were all right; two finished runs had 0.12 and 0.15."""
OVERTRAINING_STEPS = 4
"""Steps at the run's end whose token rows are read."""
NO_CONTRAST = 0.5
"""Share of groups without contrast: half of the rollouts teach nothing. Two finished runs ended at 0.28 and 0.39."""

_EVALS = (
    "SELECT step, k, pass_at_k, stderr, n_problems FROM pass_at_k WHERE split IN ('heldout', 'validation') "
    "AND evaluation IS NULL AND k IN (1, 8, 64, 256) ORDER BY k, step"
)
_ROLLOUTS = "SELECT step, k, pass_at_k, n_problems FROM pass_at_k WHERE source = 'rollouts' ORDER BY k, step"
_VISITS = (
    "SELECT prompt_id, min(generation) AS generation, min(step) AS step, count(*) FILTER (verdict <> 'unjudged') AS n, "
    "count(*) FILTER (verdict = 'right') AS c FROM responses GROUP BY prompt_id, attempt, generation"
)
_CONTRAST = (
    "SELECT step, avg((low = high)::INTEGER) AS without_contrast, avg((low = high AND c > 0)::INTEGER) AS all_right "
    "FROM (SELECT step, group_id, min(reward) AS low, max(reward) AS high, "
    "count(*) FILTER (verdict = 'right') AS c FROM responses WHERE reward IS NOT NULL "
    "GROUP BY step, attempt, generation, group_id HAVING count(*) > 1) GROUP BY step ORDER BY step"
)
_OVERTRAINING = """
WITH groups AS (
    SELECT attempt, generation, prompt_id, count(*) FILTER (verdict = 'right') AS c,
           count(*) FILTER (verdict <> 'unjudged') AS n
    FROM responses WHERE step > {after} GROUP BY ALL
),
visits AS (SELECT *, lag(c) OVER w AS c_before, lag(n) OVER w AS n_before
           FROM groups WINDOW w AS (PARTITION BY prompt_id ORDER BY generation)),
weights AS (SELECT attempt, response_id, sum(abs(weight))::DOUBLE AS weight, count(weight) AS n_tokens
            FROM tokens WHERE step IN ({steps}) GROUP BY ALL)
SELECT sum(weight) AS weight, sum(w.n_tokens)::BIGINT AS n_tokens,
       sum(weight) FILTER (c_before = n_before AND n_before > 0) / nullif(sum(weight), 0) AS mastered,
       sum(weight) FILTER (c_before > 0) / nullif(sum(weight), 0) AS solved,
       sum(weight) FILTER (c_before IS NULL) / nullif(sum(weight), 0) AS first_visit
FROM weights w JOIN responses r USING (attempt, response_id) JOIN visits USING (attempt, generation, prompt_id)
"""


def _change(values: pd.DataFrame, name: str) -> tuple[str, float, float, float]:
    """A sentence, and the change with its interval, of (P,) values `first` and `last`."""
    low, high = (float(bound) for bound in bootstrap_interval(values["last"] - values["first"]))
    first, last = float(values["first"].mean()), float(values["last"].mean())
    change = last - first
    verb = "rose" if change > 0 else "fell"
    return (
        f"{name} {verb} from {first:.3f} to {last:.3f} ({change:+.3f}, 95 % {low:+.3f} to {high:+.3f})",
        change,
        low,
        high,
    )


def _judge_pass_at_k(pairs: dict[int, pd.DataFrame], k: int, basis: str, steps: tuple[int, int]) -> Judgement:
    """pass@1 against pass@K, each (P,) `first` and `last`."""
    one, one_change, one_low, _ = _change(pairs[1], "pass@1")
    many, change, low, high = _change(pairs[k], f"pass@{k}")
    fired = high < 0 and -change >= PASS_FALL
    worst = (pairs[k]["last"] - pairs[k]["first"]).sort_values(kind="stable").head(5)
    examples = tuple({"prompt_id": str(name), "change": float(value)} for name, value in worst.items() if value < 0)
    figures = {"k": k, "pass_1_change": one_change, "pass_k_change": change, "pass_k_low": low, "pass_k_high": high}
    advice = None if one_low > 0 else "pass@1 does not pay for it: stop, and go back to an earlier checkpoint"
    return Judgement(fired, (many, one, basis), figures, steps, examples if fired else (), advice)


def pass_at_k_falls(log: RunLog) -> Judgement:
    """Held-out pass@K falls, paired over problems, between the first and the last evaluation."""
    sql = "FROM evals WHERE evaluation IS NULL AND split IN ('heldout', 'validation') AND (step > $after OR $after = 0)"
    evals = log.frame(f"SELECT step, split, source, prompt_id, n, c, success {sql}", after=log.break_step)
    if evals.empty:
        raise Skip("no problems that are not trained on were evaluated during training (--pass_at_k_steps)")
    split, source = evals[["split", "source"]].drop_duplicates().sort_values(["split", "source"]).iloc[0]
    evals = evals[(evals.split == split) & (evals.source == source)]
    first, last = int(evals.step.min()), int(evals.step.max())
    if first == last:
        raise Skip(f"only one evaluation is there (step {first}){log.since}")
    both = evals[evals.step == first].merge(evals[evals.step == last], on="prompt_id", suffixes=("_first", "_last"))
    both = both.sort_values("prompt_id").set_index("prompt_id")
    if len(both) < FEWEST_PROBLEMS:
        raise Skip(f"{len(both)} problems are in both evaluations, of {FEWEST_PROBLEMS} needed")
    exact = bool(both[["success_first", "success_last"]].notna().all(axis=None))
    reach = EXACT_K if exact else int(np.nan_to_num(both[["n_first", "n_last"]].to_numpy(float)).min())
    k = max((k for k in K_GRID if k <= reach), default=0)
    if k < 2:
        raise Skip("a problem has fewer than two judged responses, so there is no pass@K")

    def values(side: str, k: int) -> np.ndarray:
        if exact:
            return pass_at_k_exact(both[f"success_{side}"], k)
        return pass_at_k(both[f"n_{side}"], both[f"c_{side}"], k)

    pairs = {i: pd.DataFrame({side: values(side, i) for side in ("first", "last")}, index=both.index) for i in (1, k)}
    basis = f"paired over {len(both)} {split} problems, {source}, steps {first} and {last}"
    return _judge_pass_at_k(pairs, k, basis, (first, last))


def first_and_last_visits(log: RunLog) -> pd.DataFrame:
    """Per problem that was sampled twice with equally many judged responses: n and c at its first and last visit.

    Raises:
        Skip: too few are.
    """
    log.need_responses()
    visits = log.frame(f"{_VISITS} HAVING min(step) > $after ORDER BY generation", after=log.break_step)
    whole = set(log.steps.index[log.steps.complete])
    visits = visits[visits.step.isin(whole) & (visits.n > 1) & visits.prompt_id.notna()]
    first, last = (visits.drop_duplicates("prompt_id", keep=side).set_index("prompt_id") for side in ("first", "last"))
    both = first.merge(last, left_index=True, right_index=True, suffixes=("_first", "_last"))
    again = both[both.generation_first < both.generation_last]
    equal = again[again.n_first == again.n_last].sort_index()
    if len(equal) < FEWEST_PROBLEMS:
        raise Skip(
            f"{len(equal)} problems were sampled twice with equally many judged responses{log.since}, of "
            f"{FEWEST_PROBLEMS} needed"
        )
    return equal


def pass_at_k_falls_in_rollouts(log: RunLog) -> Judgement:
    """The same on training problems, between the first and the last visit to each."""
    both = first_and_last_visits(log)
    k = int(both.n_first.min())
    pairs = {
        i: pd.DataFrame(
            {side: pass_at_k(both[f"n_{side}"], both[f"c_{side}"], i) for side in ("first", "last")}, index=both.index
        )
        for i in (1, k)
    }
    steps = int(both.step_first.min()), int(both.step_last.max())
    basis = f"paired over {len(both)} training problems sampled at least twice, steps {steps[0]} to {steps[1]}"
    return _judge_pass_at_k(pairs, k, basis, steps)


def problems_lost(log: RunLog) -> Judgement:
    """More problems are lost than gained."""
    both = first_and_last_visits(log)
    lost = both.index[(both.c_first > 0) & (both.c_last == 0)]
    gained = int(((both.c_first == 0) & (both.c_last > 0)).sum())
    chance = more_than_even(len(lost), len(lost) + gained)
    fired = chance < LOST_CHANCE and len(lost) >= LOST_SHARE * len(both)
    evidence = (
        f"{len(lost)} of {len(both)} problems were solved at their first visit and by no response at their last, "
        f"{gained} the other way round (exact p = {chance:.2g})",
    )
    figures = {"lost": len(lost), "gained": gained, "problems": len(both), "p": chance}
    examples = tuple({"prompt_id": str(name)} for name in lost[:5]) if fired else ()
    return Judgement(fired, evidence, figures, (int(both.step_first.min()), int(both.step_last.max())), examples)


def more_than_even(hits: int, count: int) -> float:
    """P(X ≥ hits) of a fair coin thrown `count` times, exactly."""
    return sum(math.comb(count, i) for i in range(hits, count + 1)) / 2**count


def overtrained_problems(log: RunLog) -> Judgement:
    """Most of the loss's weight lies on problems that were mastered when they were sampled before."""
    log.need_responses()
    steps = log.token_steps(OVERTRAINING_STEPS, log.window)
    sql = _OVERTRAINING.format(steps=", ".join(map(str, steps)), after=log.break_step)
    row = log.frame(sql).iloc[0]
    if not row.n_tokens > 0 or not row.weight > 0:
        raise Skip("no token row tells its weight in the loss")
    if row.first_visit > NO_CONTRAST:
        raise Skip(f"{row.first_visit:.0%} of the weight lies on problems that are sampled for the first time")
    mastered, solved = (0.0 if pd.isna(value) else float(value) for value in (row.mastered, row.solved))
    evidence = (
        f"{mastered:.0%} of the loss's weight lies on problems whose responses were all right the last time, "
        f"{solved:.0%} on problems with some right response then",
        f"from the token rows of {len(steps)} steps, {steps[0]} to {steps[-1]}",
    )
    figures = {"mastered_before": mastered, "solved_before": solved, "n_tokens": int(row.n_tokens)}
    return Judgement(mastered > MASTERED, evidence, figures, (steps[0], steps[-1]))


def groups_without_contrast(log: RunLog) -> Judgement:
    """Half of the groups at the run's end have one and the same reward."""
    log.need_responses()
    first, last = log.window
    sums = _CONTRAST.replace("avg(", "sum(").replace("SELECT step,", "SELECT step, count(*) AS n,", 1)
    rows = log.frame(f"FROM ({sums}) "
                     "WHERE step BETWEEN $first AND $last", first=first, last=last)  # fmt: skip
    groups = int(rows.n.sum())
    if groups < FEWEST_PROBLEMS:
        raise Skip(f"{groups} groups of judged responses lie in steps {first} to {last}, of {FEWEST_PROBLEMS} needed")
    flat, right = float(rows.without_contrast.sum()), float(rows.all_right.sum())
    evidence = (
        f"{flat / groups:.0%} of {groups} groups in steps {first} to {last} have one reward for all responses "
        f"({right / groups:.0%} with right responses, {(flat - right) / groups:.0%} without any)",
    )
    figures = {"share": flat / groups, "right": right / groups, "groups": groups}
    advice = (
        "the problems are too easy by now: take harder ones, or leave such groups out (--method dapo samples anew)"
        if right > flat / 2
        else "the problems are too hard: take easier ones, more responses per problem, or check the grader"
    )
    return Judgement(binomial_lower(flat, groups) > NO_CONTRAST, evidence, figures, (first, last), (), advice)


RULES = (
    Rule(
        "pass-at-k-falls", "pass@K of held-out problems falls", "warning", "evaluations",
        "The policy solves fewer problems however often it may try: what pass@1 gains is paid with coverage.",
        "use --method simko or pkpo, a lower learning rate, or stop earlier; compare them by `simko study`",
        "arXiv 2504.13837; SimKO, arXiv 2510.14807", _EVALS, pass_at_k_falls,
    ),
    Rule(
        "pass-at-k-falls-in-rollouts", "pass@K of training problems falls", "warning", "responses",
        "Groups of rollouts cover fewer of the problems that are trained on than they did at the first visit.",
        "evaluate held-out problems to be sure (--pass_at_k_steps), and use --method simko or pkpo",
        "docs/metrics.md#passk", _ROLLOUTS, pass_at_k_falls_in_rollouts,
    ),
    Rule(
        "problems-lost", "more problems are lost than gained", "warning", "responses",
        "Problems that were solved are no longer solved, which a rising mean reward can hide.",
        "look at them (`simko query forgotten-prompts`), and use --method simko or more responses per problem",
        "arXiv 2507.14843, 2505.20196; docs/metrics.md#where-the-gradient-goes", _VISITS, problems_lost,
    ),
    Rule(
        "overtrained-problems", "the gradient goes to problems that are mastered", "warning", "token rows",
        "Most of the loss's weight sharpens what is solved already instead of teaching what is not.",
        "take mastered problems out of the data, or sample harder ones more often",
        "arXiv 2606.15455; docs/metrics.md#where-the-gradient-goes",
        "SELECT t.step, count(*) AS n_tokens, sum(abs(t.weight)) AS weight, r.prompt_id FROM tokens t JOIN responses r "
        "USING (run, attempt, response_id) GROUP BY t.step, r.prompt_id ORDER BY t.step DESC, weight DESC",
        overtrained_problems,
    ),
    Rule(
        "groups-without-contrast", "groups have no contrast", "warning", "responses",
        "All responses of such a group have one reward, so their advantages are zero and they teach nothing.",
        "choose problems that are sometimes solved, or leave such groups out (--method dapo)",
        "DAPO, arXiv 2503.14476", _CONTRAST, groups_without_contrast,
    ),
)  # fmt: skip
"""The rules of this family."""
