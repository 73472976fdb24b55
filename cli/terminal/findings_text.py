"""Findings as people and scripts read them: fired ones in plain words, a line of ok, then the skipped with reasons."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...store.analysis.findings.registry import judge, worst_first
from ...store.analysis.findings.rule import Finding, Rule
from ...store.analysis.findings.run_log import VIEWS, RunLog
from .opened_runs import opened_catalog
from .output import printable
from .run_addresses import address_of
from .tables import terminal_width

_WIDEST = 120
_EXAMPLES = 5


@dataclass(frozen=True)
class Look:
    """One look at one run.

    Attributes:
        folder: the run's.
        name, status: of the run; `running` says whether it may still be written.
        problems: what could not be read.
        findings: one per rule.
    """

    folder: Path
    name: str
    status: str
    running: bool
    problems: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def fired(self) -> list[Finding]:
        """The fired ones, worst first."""
        return worst_first(self.findings)

    @property
    def states(self) -> dict[str, str]:
        """Rule → state."""
        return {finding.rule.name: finding.state for finding in self.findings}


def look_at(folder: Path, rules: Sequence[Rule]) -> Look:
    """Judge a run by some rules, as it stands now.

    Raises:
        RunNotFound: it is none.
    """
    catalog, run = opened_catalog(folder, VIEWS)
    log = RunLog(catalog, run)
    findings = tuple(judge(log, rules))
    return Look(folder, run.name, str(log.status["status"]), log.running, log.problems, findings)


def print_look(look: Look) -> None:
    """Everything that was found."""
    count = len(look.fired)
    print(f"{printable(look.name)}: {look.status}, {count or 'no'} finding{'s' * (count != 1)}")
    for finding in look.fired:
        print()
        _print_fired(finding, look.folder)
    _print_rest(look)


def print_changes(look: Look, before: Mapping[str, str]) -> None:
    """What fires now and did not, and what fires no more."""
    for finding in look.findings:
        was, state = before.get(finding.rule.name), finding.state
        if state == "fired" and was != "fired":
            _print_fired(finding, look.folder)
        elif was == "fired" and state != "fired":
            print(f"{printable(look.name)}: {finding.rule.name} is {state} now", flush=True)


def findings_line(findings: Sequence[Finding], folder: Path) -> str:
    """`2 findings: entropy-collapse, problems-lost; …`, or that there are none."""
    fired = worst_first(findings)
    if not fired:
        return ""
    names = ", ".join(finding.rule.name for finding in fired)
    return f"{len(fired)} finding{'s' * (len(fired) > 1)}: {names}; `simko findings {address_of(folder)}`"


def as_json(looks: Sequence[Look]) -> str:
    """Every look as one JSON list on one line."""
    return json.dumps(
        [
            {
                "run": look.name,
                "path": str(look.folder),
                "status": look.status,
                "problems": list(look.problems),
                "findings": [finding.as_dict() for finding in look.findings],
            }
            for look in looks
        ],
        ensure_ascii=False,
        allow_nan=False,
    )


def _print_fired(finding: Finding, folder: Path) -> None:
    rule, judgement = finding.rule, finding.judgement
    assert judgement is not None
    where = f" (steps {judgement.steps[0]} to {judgement.steps[1]})" if judgement.steps else ""
    print(f"✗ {rule.severity}: {rule.title}{where} [{rule.name}]")
    for line in judgement.evidence:
        _paragraph("", line)
    if judgement.examples:
        _paragraph("where: ", "; ".join(_example(example) for example in judgement.examples[:_EXAMPLES]))
    _paragraph("means: ", rule.meaning)
    _paragraph("try: ", judgement.advice or rule.advice)
    _paragraph("source: ", rule.source)
    print(f'    see: simko query "{rule.sql}" --runs {shlex.quote(str(folder))}', flush=True)


def _print_rest(look: Look) -> None:
    ok = [finding.rule.name for finding in look.findings if finding.state == "ok"]
    skipped = [finding for finding in look.findings if finding.state == "skipped"]
    if ok or skipped:
        print()
    if ok:
        _paragraph("", f"ok: {', '.join(ok)}", indent=0)
    for finding in skipped:
        _paragraph("", f"skipped: {finding.rule.name}, because {finding.reason}", indent=0)
    print(end="", flush=True)


def _example(example: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}" for name, value in example.items()
    )


def _paragraph(name: str, text: str, indent: int = 4) -> None:
    width = min(terminal_width() or _WIDEST, _WIDEST)
    lines = textwrap.wrap(
        name + printable(text), max(20, width - indent), break_long_words=False, break_on_hyphens=False
    ) or [""]
    print("\n".join(" " * (indent + 2 * (i > 0)) + line for i, line in enumerate(lines)))
