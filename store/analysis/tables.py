"""A study in tables: what a report shows, a terminal prints and a notebook reads, as data frames of short texts.

`mean ± sd` is over seeds; brackets are 95 % intervals that resample seeds and problems (`seed_bootstrap`).
Differences are paired: same seed, same base policy, same problems.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ..layout.schema import K_SHOWN
from .ablations import LARGEST_K_MARGIN, ablation_claims
from .claims import PASS_1_MARGIN, DecidedClaim, verdicts
from .correlation import Correlation, checkpoints, correlations
from .frontier import KINDS, matched
from .modes import modes_kept
from .outcomes import RANKS, Outcomes
from .push_check import foretold, push_fits
from .seed_bootstrap import Estimate

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Section:
    """A table under a title, with the words it needs."""

    title: str
    words: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Findings:
    """Everything a study says in numbers: sections of tables, and the verdicts they lead to."""

    sections: list[Section]
    verdicts: list[DecidedClaim]


def findings(outcomes: Outcomes) -> Findings:
    """The tables of a study; those that its runs cannot fill are left out."""
    study = outcomes.study
    reference = study.label_of("grpo") if study.label_of("grpo") in outcomes.labels else None
    points = checkpoints(outcomes)
    ks = [k for k in K_SHOWN if k in outcomes.ks]
    result = [c for rank in RANKS for k in ks for c in correlations(points, rank=rank, k=k)] if len(points) else []
    decided = verdicts(outcomes, [c for c in result if c.rank == 1 and ks and c.k == ks[-1]])
    decided += ablation_claims(outcomes)
    sections = [
        Section("Verdicts", _VERDICT_WORDS, verdict_table(decided)),
        Section("After training", "mean ± sd over seeds, held-out problems.", results_table(outcomes, ks)),
        Section("Right answers kept", _MODES_WORDS, modes_table(outcomes)),
        Section("pass@k for every k", "mean over seeds.", curve_table(outcomes)),
    ]
    if reference is not None:
        words = f"Paired differences from {reference}: same seed, base policy and problems."
        sections += [
            Section(f"Against {reference}", words, difference_table(outcomes, reference, ks)),
            frontier_section(outcomes, reference, ks),
        ]
    sections.append(Section("Concentration against pass@k", _CORRELATION_WORDS, correlation_table(result)))
    sections.append(Section("The push against what was measured", _PUSH_WORDS, push_table(outcomes)))
    if reference is not None:
        words = _FORETOLD_WORDS.format(reference)
        sections.append(Section("What right and wrong answers push", words, foretold_table(outcomes, reference)))
    sections.append(Section("Chosen on validation problems", "", selection_table(outcomes)))
    sections.append(Section("Missing runs", "They are in no mean.", missing_table(outcomes)))
    return Findings([section for section in sections if len(section.table)], decided)


_VERDICT_WORDS = (
    "A part holds when its 95 % interval lies wholly on the claimed side of 0, does not hold when it lies wholly on "
    "the other, and is undecided otherwise or with fewer than three seeds. A claim holds when all its parts do. "
    f"Not lower: the interval lies above a margin, fixed beforehand from the paper's own differences: {PASS_1_MARGIN} "
    f"of pass@1 (what SimKO gains on GRPO there), {LARGEST_K_MARGIN} at the largest k (the spread over K there)."
)
_MODES_WORDS = (
    "Distinct right answers of a problem that make up a twentieth or more of its responses in the last tenth of the "
    "steps, mean ± sd over seeds; of problems with a hundred such responses."
)
_FRONTIER_WORDS = (
    "pass@k minus that of {}'s best checkpoint at the same pass@1, reached by stopping early, by another learning "
    "rate, or by either (both). Cross-fitted: the checkpoints are chosen on {} and compared on others; above, on or "
    "below says where its interval lies. Same problems: chosen and compared on the same ones, which flatters {}: the "
    "best of many checkpoints is lucky there. Beyond: no checkpoint has that pass@1."
)
_CORRELATION_WORDS = (
    "Pearson's r of Λ(rank) and held-out pass@k. Pooled: all checkpoints. Partial: the step and its square taken out "
    "of both. Between methods: final means. Intervals resample runs (between methods: seeds)."
)
_PUSH_WORDS = (
    "Pearson's r over the steps of a run, mean over runs, between the push of a step on Λ(rank), or on the entropy, "
    "and the change measured by scoring the same tokens again; and with the change of its mean to the next step, on "
    "other tokens. "
    "Signs: share of steps in which push and change agree in sign."
)
_FORETOLD_WORDS = (
    "Push per token on the rollouts of {} if right answers alone (PSR) or wrong answers alone (NSR) were trained on, "
    "beside the change of Λ(rank) over the runs that did so."
)


def number(value: float, *, signed: bool = False) -> str:
    """Three decimals for values up to 1, without the zero before the point, and two beyond."""
    if math.isnan(value):
        return "–"
    text = f"{abs(value):.3f}".removeprefix("0") if abs(value) < 1.0005 else f"{abs(value):.2f}"
    sign = MINUS if value < 0 else "+" if signed else ""
    return sign + text


def spread(result: Estimate) -> str:
    """`mean ± sd`."""
    if math.isnan(result.deviation):
        return number(result.mean)
    return f"{number(result.mean)} ± {number(result.deviation)}"


def bracketed(value: float, low: float, high: float) -> str:
    """`+mean [low, high]`."""
    if math.isnan(value):
        return "–"
    if math.isnan(low):
        return number(value, signed=True)
    return f"{number(value, signed=True)} [{number(low, signed=True)}, {number(high, signed=True)}]"


def interval(result: Estimate) -> str:
    """`+mean [low, high]` of an estimate."""
    return bracketed(result.mean, result.low, result.high)


def verdict_table(decided: Sequence[DecidedClaim]) -> pd.DataFrame:
    """One row a part of a claim."""
    rows = []
    for verdict in decided:
        for place, part in enumerate(verdict.parts):
            rows.append(
                {
                    "claim": f"{verdict.number}. {verdict.claim}" if place == 0 else "",
                    "verdict": verdict.result if place == 0 else "",
                    "part": part.statement,
                    "measured": bracketed(part.value, part.low, part.high),
                    "of the part": part.result,
                }
            )
    return pd.DataFrame(rows)


def results_table(outcomes: Outcomes, ks: Sequence[int]) -> pd.DataFrame:
    """One row a label, the base policy first."""
    rows = []
    if outcomes.by_run:
        rows.append({"": "base", "seeds": "", **{f"pass@{k}": spread(outcomes.base(k)) for k in ks}})
    for label in outcomes.labels:
        row = {"": label, "seeds": str(len(outcomes.of(label)))}
        row |= {f"pass@{k}": spread(outcomes.pass_at(label, k)) for k in ks}
        row |= {f"Λ({rank})": spread(outcomes.lambda_at(label, rank)) for rank in RANKS}
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def modes_table(outcomes: Outcomes) -> pd.DataFrame:
    """One row a label; empty where the task has too many problems to tell."""
    return pd.DataFrame([{"": label, "right answers": spread(kept)} for label, kept in modes_kept(outcomes).items()])


def curve_table(outcomes: Outcomes) -> pd.DataFrame:
    """Mean pass@k for k = 1, 2, 4, …"""
    rows = [
        {"": label, **{str(k): number(outcomes.pass_at(label, k).mean) for k in outcomes.ks}}
        for label in outcomes.labels
    ]
    base = [{"": "base", **{str(k): number(outcomes.base(k).mean) for k in outcomes.ks}}] if rows else []
    return pd.DataFrame(base + rows)


def difference_table(outcomes: Outcomes, reference: str, ks: Sequence[int]) -> pd.DataFrame:
    """Paired differences from a label."""
    rows = []
    for label in outcomes.labels:
        if label == reference:
            continue
        row = {"": label} | {f"pass@{k}": interval(outcomes.difference(label, reference, k)) for k in ks}
        row |= {f"Λ({rank})": interval(outcomes.lambda_difference(label, reference, rank)) for rank in RANKS}
        rows.append(row)
    return pd.DataFrame(rows)


def frontier_section(outcomes: Outcomes, reference: str, ks: Sequence[int]) -> Section:
    """Every label against the reference's frontier, at the larger k: two figures each."""
    rows, chosen_on = [], "halves of the held-out problems"
    for label in outcomes.labels:
        if label == reference:
            continue
        for kind in KINDS:
            result = {k: matched(outcomes, label, reference, k, kind) for k in ks if k > 1}
            if not any(m.same_problems.seeds or m.beyond for m in result.values()):
                continue
            row = {"": label if kind == KINDS[0] else "", "frontier": kind}
            for k, at in result.items():
                row[f"pass@{k}, cross-fitted"] = f"{at.verdict}  {interval(at.cross_fitted)}".strip()
                row[f"pass@{k}, same problems"] = interval(at.same_problems)
                chosen_on = at.chosen_on
            beyond = max(at.beyond for at in result.values())
            rows.append({**row, "seeds beyond": str(beyond) if beyond else ""})
    words = _FRONTIER_WORDS.format(reference, chosen_on, reference)
    return Section("At equal pass@1", words, pd.DataFrame(rows))


def correlation_table(result: Sequence[Correlation]) -> pd.DataFrame:
    """One row per rank and k."""
    rows: dict[tuple[int, int], dict[str, str]] = {}
    for c in result:
        row = rows.setdefault((c.rank, c.k), {"": f"Λ({c.rank}) and pass@{c.k}"})
        row[c.kind] = bracketed(c.r, c.low, c.high)
        row["checkpoints" if c.kind != "between methods" else "methods"] = str(c.points)
    return pd.DataFrame(list(rows.values()))


def push_table(outcomes: Outcomes) -> pd.DataFrame:
    """One row a label and kind."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for fit in push_fits(outcomes):
        row = rows.setdefault((fit.label, fit.kind), {"": fit.label, "measured on": fit.kind})
        name = "entropy" if fit.rank is None else f"Λ({fit.rank})"
        row |= {name: interval(fit.r), f"signs {name}": f"{fit.agreement.mean:.0%}"}
    return pd.DataFrame(list(rows.values())).fillna("–")


def foretold_table(outcomes: Outcomes, reference: str) -> pd.DataFrame:
    """One row per method and rank."""
    return pd.DataFrame(
        {
            "": f.method.upper(),
            "rank": f"Λ({f.rank})",
            f"push on {reference}'s rollouts": interval(f.push),
            "change in its own runs": interval(f.change),
            "same sign": f.agrees,
        }
        for f in foretold(outcomes, reference)
    )


def selection_table(outcomes: Outcomes) -> pd.DataFrame:
    """What was searched on validation problems, and what was taken."""
    study = outcomes.study
    rows = []
    for entry in study.selection_scores:
        taken = study.selected.get(entry.get("label", ""), {})
        options = entry.get("options", {})
        chosen = bool(options) and all(taken.get(name) == value for name, value in options.items())
        rows.append(
            {
                "for": str(entry.get("label", "")),
                "options": ", ".join(f"{name} {json.dumps(value)}" for name, value in options.items()),
                "seed": str(entry.get("seed", "")),
                "score": number(float(entry.get("score", math.nan))),
                "taken": "yes" if chosen else "",
            }
        )
    return pd.DataFrame(rows)


def missing_table(outcomes: Outcomes) -> pd.DataFrame:
    """Runs that are in no table, and why."""
    missing = outcomes.study.missing | outcomes.left_out
    return pd.DataFrame([{"run": run, "why": why} for run, why in missing.items()])
