"""Evaluations beside training, written as `simko eval` writes them, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simko.store.writing.evaluation_writer import EvaluationWriter


def header(**overrides: Any) -> dict[str, Any]:
    """Two blocks of two problems × two of the three samples, then the third: four units."""
    settings = {"samples": 3, "temperature": 0.6, "top_p": 0.95, "max_tokens": 8, "seed": 0}
    content = {
        "benchmark": "aime24",
        "step": 4,
        "checkpoint": "run/checkpoint-4",
        "weights": "w" * 16,
        "engine": "transformers",
        "settings": settings,
        "problems": 3,
        "digest": "d" * 16,
        "units": 4,
        "problems_per_unit": 2,
        "samples_per_unit": 2,
    }
    return content | overrides


UNITS = ((("p0", "p1"), (0, 1)), (("p0", "p1"), (2,)), (("p2",), (0, 1)), (("p2",), (2,)))
"""Problems and samples of each unit."""
RIGHT = {("p0", 0), ("p0", 2), ("p1", 1)}
"""Which responses are right: c is 2, 1 and 0 of n = 3."""


def publish(writer: EvaluationWriter, unit: int) -> None:
    """Write a unit."""
    problems, samples = UNITS[unit]
    rows = [(p, s) for p in problems for s in samples]
    writer.publish(
        unit,
        evals={
            "prompt_id": list(problems),
            "split": ["benchmark"] * len(problems),
            "source": ["sampled"] * len(problems),
            "n": [len(samples)] * len(problems),
            "c": [sum((p, s) in RIGHT for s in samples) for p in problems],
            "n_unjudged": [0] * len(problems),
            "n_truncated": [1] * len(problems),
            "samples_requested": [3] * len(problems),
            "temperature": [0.6] * len(problems),
            "top_p": [0.95] * len(problems),
        },
        samples={
            "prompt_id": [p for p, _ in rows],
            "sample": [s for _, s in rows],
            "verdict": ["right" if row in RIGHT else "wrong" for row in rows],
            "n_tokens": [5] * len(rows),
            "truncated": [False] * len(rows),
            "completion": ["text"] * len(rows),
        },
    )


def write_evaluation(run: Path, evaluation: str = "0123456789ab", units: int = 4, **overrides: Any) -> None:
    """An evaluation of which so many units are done."""
    with EvaluationWriter(run, evaluation, header(**overrides)) as writer:
        for unit in range(units):
            if unit not in writer.done:
                publish(writer, unit)
