"""What a study leaves for readers: `study.json`, the plan with what was selected, and `timings.jsonl`.

    study.json       {"study", "description", "task", "created", "specification": the YAML, "overrides": of the call,
                      "selected": {"shared": options, label: options},
                      "selection_scores": [{"label", "options", "seed", "score"}],
                      "runs": [{"run", "label", "method", "role": compare | frontier, "seed", "base",
                                "learning_rate_scale", "options"}]}
    timings.jsonl    {"run", "status": finished | failed, "wall_seconds", "cpu_seconds", "ended"}, a line each attempt

Every compared run is named, done or not, so that a reader can tell what is missing; an option that is still to be
chosen is left out of `options`.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...store.layout.run import now, write_atomically
from .folders import read_record
from .plan import Plan, PlannedRun
from .reading import Options
from .selection import Score
from .workers import JobOutcome


def write_record(plan: Plan, chosen: dict[str, Options], scores: list[Score]) -> None:
    """Write `study.json`, whole or not at all; `created` stays what it was."""
    study = plan.study
    content = {
        "study": study.name,
        "description": study.description,
        "task": study.task,
        "created": read_record(plan.output).get("created", now()),
        "specification": study.content,
        "overrides": plan.overrides,
        "selected": chosen,
        "selection_scores": [asdict(item) | {"score": _number(item.score)} for item in scores],
        "runs": [_line(run) for run in plan.compared(chosen)],
    }
    write_atomically(plan.output / "study.json", json.dumps(content, indent=1, ensure_ascii=False, default=str))


def append_timing(output: Path, outcome: JobOutcome) -> None:
    """Add a line to `timings.jsonl`."""
    line = {
        "run": outcome.job.name,
        "status": outcome.status,
        "wall_seconds": round(outcome.wall_seconds, 3),
        "cpu_seconds": None if outcome.cpu_seconds is None else round(outcome.cpu_seconds, 3),
        "ended": now(),
    }
    with (output / "timings.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _line(run: PlannedRun) -> dict[str, Any]:
    return {
        "run": run.name,
        "label": run.label,
        "method": run.method,
        "role": run.role,
        "seed": run.seed,
        "base": run.base,
        "learning_rate_scale": run.learning_rate_scale,
        "options": {name: value for name, value in run.options.items() if name not in run.unchosen},
    }


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
