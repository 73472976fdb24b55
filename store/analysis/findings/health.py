"""Rules about the log itself and the process that writes it: steps and ranks, silence, dropped rows, damage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...layout.liveness import in_words
from ...reading.incomplete_steps import incomplete_steps
from .rule import Judgement, Rule, Skip
from .run_log import RunLog, listed

_MOST = 5
"""Lines of evidence of one kind."""


def steps_missing(log: RunLog) -> Judgement:
    """Steps are not there, or not every process has reported them."""
    steps = log.steps
    last = int(steps.index[-1])
    partial = [int(step) for step in steps.index[~steps.complete] if not (log.running and step == last)]
    holes = log.holes
    lines = list(incomplete_steps(log.connection))[:_MOST] if partial else []
    if holes:
        lines.append(f"{listed(holes)} {'are' if len(holes) > 1 else 'is'} not in the log")
    every = "" if log.stride == 1 else f", every {log.stride} steps"
    lines = lines or [f"steps {int(steps.index[0])} to {last} are there{every}, reported by every process"]
    examples = tuple({"step": step} for step in sorted([*partial, *holes])[:_MOST])
    figures = {"incomplete": len(partial), "absent": len(holes)}
    return Judgement(bool(partial or holes), tuple(lines), figures, (int(steps.index[0]), last), examples)


def writer_silent(log: RunLog) -> Judgement:
    """The process that writes has given no sign of life."""
    status, seen = str(log.status["status"]), log.status["last_seen"]
    seen = seen if isinstance(seen, str) else None
    if status == "empty":
        raise Skip("nothing has been written yet")
    words = in_words(status, seen)
    line = f"the run is {words}" + (f", last seen {seen}" if seen else "")
    return Judgement(status in ("silent", "stopped"), (line,), {"status": status, "last_seen": seen})


def run_failed(log: RunLog) -> Judgement:
    """The run ended, but not well."""
    status = str(log.status["status"])
    if status not in ("finished", "interrupted", "failed", "diverged"):
        raise Skip(f"the run has not ended: it is {status}")
    return Judgement(status in ("failed", "diverged"), (f"the run ended as {status}",), {"status": status})


def batches_dropped(log: RunLog) -> Judgement:
    """Micro-batches were scored but not logged."""
    dropped = int(log.status["dropped"])
    costs = log.frame("SELECT step, sum(n_dropped)::BIGINT AS n FROM costs GROUP BY step HAVING n > 0 ORDER BY step")
    steps = [int(step) for step in costs.step]
    where = f", in {listed(steps)}" if steps else ""
    examples: tuple[Mapping[str, Any], ...] = tuple(
        {"step": int(step), "dropped": int(n)} for step, n in zip(costs.step[:_MOST], costs.n[:_MOST], strict=True)
    )
    line = f"{dropped} micro-batches were scored but not logged{where}"
    return Judgement(dropped > 0, (line,), {"dropped": dropped}, examples=examples)


def log_damaged(log: RunLog) -> Judgement:
    """Something of the log could not be read."""
    lines = log.problems
    more = (f"and {len(lines) - _MOST} more",) if len(lines) > _MOST else ()
    return Judgement(bool(lines), (*lines[:_MOST], *more) or ("every file could be read",), {"problems": len(lines)})


_RUNS = "SELECT run, status, last_seen, attempts, last_step, dropped, incomplete_steps FROM runs"
RULES = (
    Rule(
        "writer-silent", "the writing process is silent", "critical", "manifests",
        "The process or its machine is gone or hangs, or has lost sight of the folder.",
        "look at the process and the disk, then go on with --resume true", "docs/processes.md", _RUNS, writer_silent,
    ),
    Rule(
        "run-failed", "the run did not end well", "critical", "manifests",
        "Training stopped with an error, or because a figure turned NaN or infinite.",
        "read the last lines of its output, then resume from an earlier checkpoint", "docs/processes.md", _RUNS,
        run_failed,
    ),
    Rule(
        "steps-missing", "steps or ranks are missing", "warning", "roll-ups",
        "The figures of these steps are left out of every mean, so curves have holes there.",
        "see which process has not written (`simko doctor RUN`)", "docs/schema.md",
        "SELECT step, step - lag(step) OVER (ORDER BY step) AS since_last, reported, world_size, missing FROM steps "
        "ORDER BY step", steps_missing,
    ),
    Rule(
        "batches-dropped", "the probe drops rows", "warning", "manifests",
        "The log does not hold every token that was trained on, so its figures are of the rest.",
        "read the probe's warning in the run's output, make room on the disk, or log fewer rows (--probe_every)",
        "docs/probe.md", "SELECT step, worker, n_dropped FROM costs WHERE n_dropped > 0 ORDER BY step", batches_dropped,
    ),
    Rule(
        "log-damaged", "part of the log cannot be read", "warning", "manifests",
        "Files are missing, torn or altered; what is told of this run is about the rest.",
        "see what is damaged (`simko doctor RUN --deep`) and restore it from a copy", "docs/keeping.md",
        "FROM sizes", log_damaged,
    ),
)  # fmt: skip
"""The rules of this family."""
