"""One unit of an evaluation: responses drawn, judged, and counted into rows of `evals` and `samples`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .benchmarks import Benchmark
from .engines.base import Completion, Engine
from .exact import exact_success
from .units import Unit

Columns = dict[str, list[Any]]


def drawn(engine: Engine, benchmark: Benchmark, unit: Unit) -> list[list[Completion]]:
    """The responses of a unit, by problem.

    Raises:
        ServerUnusable: a server does not give them.
    """
    prompts = benchmark.prompts[unit.first : unit.last]
    seed = unit.seed(benchmark.name, benchmark.settings.seed)
    return engine.generate(prompts, unit.samples, benchmark.draws, seed=seed)


def exact_rows(engine: Engine, benchmark: Benchmark) -> Columns:
    """Rows of `evals` with the exact success of every problem, under the whole distribution at the temperature."""
    temperature = benchmark.settings.temperature
    tokenizer, prompts, answers = engine.tokenizer, benchmark.prompts, benchmark.answers
    success = exact_success(engine.model, tokenizer, prompts, answers, temperature=temperature)
    rows = _about(benchmark, benchmark.prompt_ids, "exact") | {"success": success.tolist()}
    return rows | {"top_p": [1.0] * len(success)}


def judged_rows(benchmark: Benchmark, unit: Unit, responses: Sequence[Sequence[Completion]]) -> tuple[Columns, Columns]:
    """Rows of `evals` and `samples` of a unit's responses."""
    places = [i for i, row in enumerate(responses) for _ in row]
    flat = [completion for row in responses for completion in row]
    texts = [completion.text for completion in flat]
    answers = benchmark.answers[unit.first : unit.last]
    verdicts = benchmark.task.judge(texts, [answers[i] for i in places])
    extracted = benchmark.task.extracted(texts)
    ids = benchmark.prompt_ids[unit.first : unit.last]
    samples: Columns = {
        "prompt_id": [ids[i] for i in places],
        "sample": [unit.first_sample + j for row in responses for j in range(len(row))],
        "verdict": list(verdicts),
        "n_tokens": [completion.n_tokens for completion in flat],
        "truncated": [completion.truncated for completion in flat],
        "extracted": list(extracted),
        "completion": [text.encode("utf-8", "replace").decode() for text in texts],
    }

    def count(flags: Sequence[bool]) -> list[int]:
        sums = [0] * len(ids)
        for i, flag in zip(places, flags, strict=True):
            sums[i] += bool(flag)
        return sums

    evals = _about(benchmark, ids, "sampled") | {
        "n": count([verdict != "unjudged" for verdict in verdicts]),
        "c": count([verdict == "right" for verdict in verdicts]),
        "n_unjudged": count([verdict == "unjudged" for verdict in verdicts]),
        "n_truncated": count(samples["truncated"]),
        "n_unextracted": count([not flag for flag in extracted]),
    }
    return evals, samples


def _about(benchmark: Benchmark, ids: Sequence[str], source: str) -> Columns:
    n, settings = len(ids), benchmark.settings
    known = {"split": "benchmark", "source": source, "temperature": settings.temperature, "top_p": settings.top_p}
    known["samples_requested"] = settings.samples
    return {"prompt_id": list(ids), **{name: [value] * n for name, value in known.items()}}
