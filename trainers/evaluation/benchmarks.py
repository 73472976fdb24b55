"""Benchmarks by name with the sampling that belongs to each: the catalogue's, and the built-in tasks.

The catalogue's settings are those of the paper (math: T = 0.6, top-p 0.95, 4 096 tokens). The built-in tasks are drawn
from as they are trained: at T = 1 from the whole distribution, 256 responses per problem.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from ...store.errors import UsageError, nearest
from ..errors import EvaluationImpossible, TaskUnknown
from ..tasks import BUILT_IN, task_for
from ..tasks.benchmarks import some
from ..tasks.catalogue import BENCHMARKS, CATALOGUE, benchmark_for, find_benchmark
from .engines.base import Draws

MOST_SAMPLES = 1024
"""The largest k at which pass@k is estimated."""


@dataclass(frozen=True)
class Asked:
    """What a person has set; None takes the benchmark's own."""

    samples: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    limit: int | None = None
    prompt_style: str | None = None
    dataset: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Settings:
    """How one benchmark is measured; part of the evaluation's identity."""

    samples: int
    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...]
    limit: int | None
    prompt_style: str
    seed: int


@dataclass(frozen=True)
class Benchmark:
    """A benchmark ready to be measured.

    Attributes:
        task: judges.
        prompt_ids, prompts, answers: of P problems.
        settings: how.
    """

    name: str
    task: Any
    prompt_ids: list[str]
    prompts: list[Any]
    answers: list[Any]
    settings: Settings

    @property
    def draws(self) -> Draws:
        """How responses are drawn."""
        s = self.settings
        exact = bool(self.task.enumerates_answers)
        return Draws(s.temperature, s.top_p, s.max_tokens, s.stop, verbatim=exact)

    @property
    def digest(self) -> str:
        """Of the problems: the same name may stand for others tomorrow."""
        rows = [self.prompt_ids, self.prompts, self.answers]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False, default=str).encode()).hexdigest()[:16]

    @property
    def described(self) -> dict[str, Any]:
        """The settings as they are kept."""
        return dict(json.loads(json.dumps(asdict(self.settings))))


def known_benchmarks() -> dict[str, str]:
    """The names there are, and what each is in a line."""
    families = [name for name in BENCHMARKS if ":" not in name and name != "reasoning_gym"]
    names = (*BUILT_IN, *families, "reasoning_gym")
    shown = {"reasoning_gym": "reasoning_gym:TASK"}
    return {shown.get(name, name): CATALOGUE[name].doc for name in names}


def check_benchmark(name: str) -> None:
    """See that there is a benchmark of that name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    if name in BUILT_IN:
        return
    try:
        find_benchmark(name)
    except TaskUnknown as error:
        known = list(known_benchmarks())
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
        raise UsageError(f"no benchmark {name}; {hint}") from error


def check_asked(asked: Asked) -> None:
    """See that what was set can be.

    Raises:
        UsageError: a value is out of range.
    """
    limits: tuple[tuple[str, float | None, float, float], ...] = (
        ("samples", asked.samples, 1, MOST_SAMPLES),
        ("max_tokens", asked.max_tokens, 1, 2**20),
        ("limit", asked.limit, 1, 2**31 - 1),
        ("seed", asked.seed, 0, 2**31 - 1),
    )
    for option, value, least, most in limits:
        if value is not None and not least <= value <= most:
            raise UsageError(f"--{option} {value}: from {least:g} to {most:g}")
    if asked.temperature is not None and not 0 < asked.temperature <= 100:
        raise UsageError(f"--temperature {asked.temperature}: above 0; draws without chance tell no pass@k")
    if asked.top_p is not None and not 0 < asked.top_p <= 1:
        raise UsageError(f"--top_p {asked.top_p}: above 0, up to 1")


def load_benchmark(name: str, asked: Asked, tokenizer: Any) -> Benchmark:
    """A benchmark with its problems.

    Args:
        name: one of `known_benchmarks`.
        asked: what a person has set.
        tokenizer: decides whether prompts are chat messages; None makes them plain text.

    Raises:
        UsageError: no such benchmark, or an option that does not fit it.
        EvaluationImpossible: it has no problems.
        DatasetNotFound, DatasetUnreadable, ColumnsMissing: its data cannot be had.
    """
    check_benchmark(name)
    own: Any
    if name in BUILT_IN:
        if asked.dataset is not None or asked.prompt_style is not None:
            raise UsageError(f"benchmark {name} makes its own problems; leave out --dataset and --prompt_style")
        task, own = task_for(name), CATALOGUE[name]
        max_tokens, rows = task.max_completion_length, some(task.heldout, asked.limit)
    else:
        task = benchmark_for(
            name, dataset=asked.dataset, tokenizer=tokenizer, prompt_style=asked.prompt_style, limit=asked.limit
        )
        own = task.settings or find_benchmark(name)
        max_tokens, rows = own.max_completion_length, task.heldout
    if rows is None or not len(rows):
        raise EvaluationImpossible(f"benchmark {name} has no problems; give some with --dataset")
    settings = Settings(
        samples=_first(asked.samples, own.samples),
        temperature=float(_first(asked.temperature, own.temperature)),
        top_p=float(_first(asked.top_p, own.top_p)),
        max_tokens=_first(asked.max_tokens, max_tokens),
        stop=tuple(task.stop),
        limit=asked.limit,
        prompt_style=str(own.prompt),
        seed=asked.seed,
    )
    ids, prompts, answers = (list(rows[column]) for column in ("prompt_id", "prompt", "answer"))
    return Benchmark(name, task, ids, prompts, answers, settings)


def _first(asked: Any, own: Any) -> Any:
    return own if asked is None else asked
