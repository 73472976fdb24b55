"""A plan as text: sections of aligned figures, then the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...trainers.planning.plan import Plan

_MARKS = {"ok": "ok ", "failed": "NO ", "not checked": "?  "}


def plan_text(plan: Plan) -> str:
    """The whole plan."""
    lines = [plan.title]
    width = max(len(line.name) for section in plan.sections.values() for line in section)
    for heading, section in plan.sections.items():
        lines += ["", f"{heading}:"]
        for line in section:
            origin = f"   ({line.origin})" if line.origin else ""
            lines.append(f"  {line.name:<{width}}  {line.value}{origin}")
    lines += ["", "checks (ok, NO: failed, ?: cannot be checked here):"]
    name = max((len(check.name) for check in plan.checks), default=0)
    lines += [f"  {_MARKS[check.outcome]} {check.name:<{name}}  {check.detail}" for check in plan.checks]
    return "\n".join(lines)
