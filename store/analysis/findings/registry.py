"""All rules by name, and the judgement of one run by them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb

from ...errors import UsageError, nearest
from . import concentration, health, numerics, outcomes
from .rule import Finding, Rule, Skip
from .run_log import RunLog

RULES: dict[str, Rule] = {
    rule.name: rule for family in (health, numerics, concentration, outcomes) for rule in family.RULES
}
"""Rule by name; what breaks a run comes before what leads it the wrong way."""
SEVERITIES = ("critical", "warning")
"""Worst first."""


def chosen_rules(names: Sequence[str] = ()) -> list[Rule]:
    """The rules of these names, or all.

    Raises:
        UsageError: there is none of a name.
    """
    for name in names:
        if name not in RULES:
            near = nearest(name, RULES)
            hint = f"did you mean {near}?" if near else f"there are: {', '.join(RULES)}"
            raise UsageError(f"no rule {name}; {hint}")
    return [rule for name, rule in RULES.items() if not names or name in names]


def judge(log: RunLog, rules: Iterable[Rule] | None = None) -> list[Finding]:
    """What the rules say of a run, in their order. What cannot be read makes a rule skipped, not the command fail."""
    return [_finding(log, rule) for rule in (RULES.values() if rules is None else rules)]


def _finding(log: RunLog, rule: Rule) -> Finding:
    try:
        judgement = rule.check(log)
    except Skip as reason:
        return Finding(log.name, rule, "skipped", None, str(reason))
    except duckdb.Error as error:
        return Finding(log.name, rule, "skipped", None, f"its rows cannot be read ({str(error).splitlines()[0]})")
    return Finding(log.name, rule, "fired" if judgement.fired else "ok", judgement)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The fired ones, critical before warning."""
    fired = [finding for finding in findings if finding.state == "fired"]
    return sorted(fired, key=lambda finding: SEVERITIES.index(finding.rule.severity))
