"""What a rule is and what it says: fired, ok, or skipped because something it needs is not there.

A check returns a `Judgement` or raises `Skip`; it never gives a figure that its data cannot carry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .run_log import RunLog

State = Literal["fired", "ok", "skipped"]
Severity = Literal["warning", "critical"]
Reads = Literal["manifests", "roll-ups", "responses", "evaluations", "token rows"]


class Skip(Exception):
    """A rule cannot be judged on this run; the message says why, so that it reads after "because"."""


@dataclass(frozen=True)
class Judgement:
    """What a check has found.

    Attributes:
        fired: whether the rule's condition holds.
        evidence: sentences with the figures, one line each.
        figures: the same figures by name; finite numbers, text, or None.
        steps: first and last step looked at.
        examples: the very steps, problems or tokens where it applies, a few of them.
        advice: what to try, where it depends on what was found; None: the rule's.
    """

    fired: bool
    evidence: tuple[str, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[int, int] | None = None
    examples: tuple[Mapping[str, Any], ...] = ()
    advice: str | None = None


@dataclass(frozen=True)
class Rule:
    """One way in which a run goes wrong.

    Attributes:
        name: as it is asked for, `rank-1-saturation`.
        title: what has happened where it fires, in a few words.
        severity: `critical` where the run or its log is broken, `warning` where training goes the wrong way.
        reads: the largest thing it reads.
        meaning: what it means, one sentence.
        advice: what to try, one sentence.
        source: where it comes from: a paper, or a page of the docs.
        sql: a SELECT that shows the evidence, for `simko query`.
        check: judges a run.
    """

    name: str
    title: str
    severity: Severity
    reads: Reads
    meaning: str
    advice: str
    source: str
    sql: str
    check: Callable[[RunLog], Judgement]


@dataclass(frozen=True)
class Finding:
    """What a rule says of one run.

    Attributes:
        run: the run's name.
        rule: the rule.
        state: `fired`, `ok` or `skipped`.
        judgement: None where the rule was skipped.
        reason: why it was skipped; empty otherwise.
    """

    run: str
    rule: Rule
    state: State
    judgement: Judgement | None
    reason: str = ""

    @property
    def evidence(self) -> tuple[str, ...]:
        """Sentences with the figures."""
        return self.judgement.evidence if self.judgement else ()

    def as_dict(self) -> dict[str, Any]:
        """Everything of it that JSON can hold."""
        entry: dict[str, Any] = {"run": self.run, "rule": self.rule.name, "state": self.state}
        entry |= {"severity": self.rule.severity, "title": self.rule.title}
        if self.judgement is None:
            return entry | {"reason": self.reason}
        found = self.judgement
        entry |= {"evidence": list(found.evidence), "figures": _finite(found.figures)}
        entry |= {"steps": list(found.steps) if found.steps else None, "examples": [_finite(e) for e in found.examples]}
        entry |= {"meaning": self.rule.meaning, "advice": found.advice or self.rule.advice}
        return entry | {"source": self.rule.source, "sql": self.rule.sql}


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON can hold them: what is not finite is None."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
