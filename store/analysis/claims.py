"""The paper's five claims, each decided from a study's runs by a stated rule; nothing is decided beforehand.

A claim is made of parts, each an estimate that should lie on one side of 0. A part *holds* when its 95 % interval lies
wholly on that side, *does not hold* when it lies wholly on the other, and is *undecided* otherwise or with fewer than
three seeds. A part that says "not lower" has a margin: it holds when the interval lies wholly above minus the margin
and does not when it lies wholly below (a test of non-inferiority, which two equal methods pass). The margins are fixed
here, from differences that the paper itself reports; they were fixed when the results of an earlier study were known.

A claim holds when all its parts do, does not when any part does not, and is undecided otherwise.
Intervals resample seeds and problems; those of correlations, runs.

Source of the claims: arXiv 2510.14807, sections 3 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .correlation import Correlation
from .outcomes import RANKS, Outcomes
from .seed_bootstrap import Estimate

Result = Literal["holds", "does not hold", "undecided"]
FEWEST_SEEDS = 3
PASS_1_MARGIN = 0.017
"""Loss of pass@1 that is not yet "lower": as much as the paper's gain of SimKO over GRPO (Table 1: 41.7 to 43.4 %). A
loss below that is smaller than what the paper calls an improvement."""


@dataclass(frozen=True)
class ClaimPart:
    """One statement of a claim.

    Attributes:
        statement: in words.
        value, low, high: the estimate and its interval.
        wanted: the side of 0 it should lie on, +1 or -1.
        enough: whether there are runs enough to decide.
        margin: how far on the other side of 0 it may lie.
    """

    statement: str
    value: float
    low: float
    high: float
    wanted: int
    enough: bool = True
    margin: float = 0.0

    @property
    def result(self) -> Result:
        """By the rule above."""
        if not self.enough:
            return "undecided"
        low, high = (self.low, self.high) if self.wanted > 0 else (-self.high, -self.low)
        return "holds" if low > -self.margin else "does not hold" if high < -self.margin else "undecided"


@dataclass(frozen=True)
class DecidedClaim:
    """A claim and what became of it."""

    number: int
    claim: str
    parts: tuple[ClaimPart, ...]

    @property
    def result(self) -> Result:
        """By the rule above."""
        results = [part.result for part in self.parts]
        if "does not hold" in results:
            return "does not hold"
        return "holds" if results and all(result == "holds" for result in results) else "undecided"


def verdicts(outcomes: Outcomes, correlations: Sequence[Correlation]) -> list[DecidedClaim]:
    """The claims that the study's methods can speak to.

    Args:
        outcomes: of a study with GRPO and some of PSR, NSR, SimKO.
        correlations: of Λ(1) with pass@k at the largest k.
    """
    study = outcomes.study
    grpo, psr, nsr, simko = (study.label_of(m) for m in ("grpo", "psr", "nsr", "simko"))
    present = set(outcomes.labels)
    grpo, psr, nsr, simko = (label if label in present else None for label in (grpo, psr, nsr, simko))
    if grpo is None or not outcomes.ks:
        return []
    k = outcomes.ks[-1]
    result = [
        DecidedClaim(1, "GRPO concentrates: Λ(1) rises, Λ(2) and Λ(3) fall", tuple(_concentration(outcomes, grpo)))
    ]
    if psr is not None and nsr is not None:
        parts = (
            part(f"{psr} has a higher Λ(1) than {grpo}", outcomes.lambda_difference(psr, grpo, 1), 1),
            part(f"{nsr} has a lower Λ(1) than {grpo}", outcomes.lambda_difference(nsr, grpo, 1), -1),
            part(f"{psr} has a lower pass@{k} than {grpo}", outcomes.difference(psr, grpo, k), -1),
            part(f"{nsr} has a higher pass@{k} than {grpo}", outcomes.difference(nsr, grpo, k), 1),
        )
        result.append(DecidedClaim(2, "Right answers alone concentrate more than GRPO, wrong ones alone less", parts))
    if simko is not None:
        spread = tuple(
            part(
                f"{simko} has a {'lower' if rank == 1 else 'higher'} Λ({rank}) than {grpo}",
                outcomes.lambda_difference(simko, grpo, rank),
                -1 if rank == 1 else 1,
            )
            for rank in RANKS
        )
        result.append(DecidedClaim(3, "SimKO keeps the distribution spread", spread))
        better = (
            part(f"{simko} has a higher pass@{k} than {grpo}", outcomes.difference(simko, grpo, k), 1),
            not_lower(outcomes, simko, grpo, 1, PASS_1_MARGIN),
        )
        result.append(DecidedClaim(4, f"SimKO has a higher pass@{k} than GRPO, and its pass@1 is not lower", better))
    enough = len({o.planned.seed for o in outcomes.by_run.values()}) >= FEWEST_SEEDS
    negative = tuple(
        ClaimPart(f"Λ(1) against pass@{k}, {_WORDS[c.kind]}", c.r, c.low, c.high, -1, enough)
        for c in correlations
        if c.kind in _WORDS
    )
    result.append(DecidedClaim(5, f"The more concentrated, the lower pass@{k}", negative))
    return result


_WORDS = {"pooled": "all checkpoints pooled", "partial": "with the step and its square taken out"}


def _concentration(outcomes: Outcomes, label: str) -> list[ClaimPart]:
    return [
        part(
            f"Λ({rank}) {'rises' if rank == 1 else 'falls'} from start to end",
            outcomes.lambda_at(label, rank, change=True),
            1 if rank == 1 else -1,
        )
        for rank in RANKS
    ]


def not_lower(outcomes: Outcomes, label: str, reference: str, k: int, margin: float) -> ClaimPart:
    """That the pass@k of a label is not lower than the reference's, by more than a margin."""
    statement = f"{label} does not have a lower pass@{k} than {reference}, by more than {margin:.3f}"
    return part(statement, outcomes.difference(label, reference, k), 1, margin)


def part(statement: str, result: Estimate, wanted: int, margin: float = 0.0) -> ClaimPart:
    """A statement about an estimate."""
    return ClaimPart(statement, result.mean, result.low, result.high, wanted, result.seeds >= FEWEST_SEEDS, margin)
