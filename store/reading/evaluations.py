"""The evaluations beside training of some runs, as rows of the table `evaluations`: what is measured, how far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ..layout.evaluation_file import EvaluationFile

EVALUATIONS = pa.schema(
    [(name, pa.string()) for name in ("run", "evaluation", "benchmark")]
    + [("step", pa.int32())]
    + [(name, pa.string()) for name in ("checkpoint", "weights", "engine")]
    + [("samples", pa.int32()), ("temperature", pa.float64()), ("top_p", pa.float64()), ("max_tokens", pa.int32())]
    + [("seed", pa.int64()), ("n_problems", pa.int32()), ("units", pa.int32()), ("units_done", pa.int32())]
    + [("complete", pa.bool_()), ("newest", pa.bool_())]
    + [(name, pa.string()) for name in ("status", "started", "ended", "last_seen")]
)


def evaluation_rows(run: str, files: Sequence[EvaluationFile]) -> list[dict[str, Any]]:
    """One row per evaluation; the newest complete one of a step and benchmark is marked."""
    newest: dict[tuple[str, int], EvaluationFile] = {}
    for file in sorted(files, key=lambda file: file.started or ""):
        if file.complete:
            newest[file.benchmark, file.step] = file
    return [_row(run, file, newest.get((file.benchmark, file.step)) is file) for file in files]


def _row(run: str, file: EvaluationFile, newest: bool) -> dict[str, Any]:
    status, last_seen = file.state()
    settings = file.settings
    return {
        "run": run,
        "evaluation": file.evaluation,
        "benchmark": _text(file.benchmark),
        "step": file.step,
        **{name: _text(file.header.get(name)) for name in ("checkpoint", "weights", "engine")},
        **{name: _whole(settings.get(name)) for name in ("samples", "max_tokens", "seed")},
        **{name: _number(settings.get(name)) for name in ("temperature", "top_p")},
        "n_problems": _whole(file.header.get("problems")),
        "units": file.units,
        "units_done": len(file.done),
        "complete": file.complete,
        "newest": newest,
        "status": _text(status),
        "started": _text(file.started),
        "ended": _text(file.end["ended"]) if file.end is not None else None,
        "last_seen": last_seen,
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 2**31 else None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and abs(value) < 2**31 else None


def _text(value: Any) -> str | None:
    """A value as text that a table can hold."""
    return None if value is None else str(value).encode("utf-8", "replace").decode()
