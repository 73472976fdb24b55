"""Every task by name as data: what it is for, where its problems are, who judges, and how the paper draws from it.

`benchmark_for` makes the `Task` of an entry that is evaluated on; `task_for` (in this folder's `__init__`) makes those
that are trained on. Math is drawn at T = 0.6 and top-p 0.95 with 4 096 tokens, 300 responses per problem for AIME and
AMC and 256 for the rest; logic at T = 0.7 and top-p 0.95 with 8 192 tokens, 128 responses per problem.

Source of the settings: arXiv 2510.14807v3, appendix E.2. Hub ids are of public copies of the sets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ..errors import TaskUnknown
from .bbh import SUBTASKS

if TYPE_CHECKING:
    from .base import Task

Purpose = Literal["train", "evaluation", "train, evaluation"]
Grader = Literal["math", "synlogic", "bbh", "reasoning_gym", "listed"]
PromptStyle = Literal["chat", "plain", "few_shot"]
STYLES: tuple[PromptStyle, ...] = ("chat", "plain", "few_shot")


@dataclass(frozen=True)
class Benchmark:
    """A task as it is published.

    Attributes:
        name: on the command line.
        purpose: what it is for.
        source: hub id, `owner/name[:configuration]`, or what makes the problems.
        rows: problems expected, the evaluated ones where it is for both; None where that is not known.
        grader: who judges.
        prompt: style of the prompts of a tokenizer with a chat template; without one they are plain text.
        samples: responses drawn per problem.
        temperature, top_p: of the draws.
        max_completion_length: tokens per response.
        stop: texts that end a response.
        doc: what it is, in a line.
    """

    name: str
    purpose: Purpose
    source: str
    rows: int | None
    grader: Grader
    prompt: PromptStyle = "chat"
    samples: int = 256
    temperature: float = 0.6
    top_p: float = 0.95
    max_completion_length: int = 4096
    stop: tuple[str, ...] = ()
    doc: str = ""


def _logic(name: str, purpose: Purpose, source: str, rows: int | None, grader: Grader, doc: str) -> Benchmark:
    settings: dict[str, Any] = {"samples": 128, "temperature": 0.7, "max_completion_length": 8192}
    return Benchmark(name, purpose, source, rows, grader, doc=doc, **settings)


def _built_in(name: str, rows: int, doc: str) -> Benchmark:
    settings: dict[str, Any] = {"prompt": "plain", "temperature": 1.0, "top_p": 1.0}
    return Benchmark(name, "train, evaluation", "built in", rows, "listed", doc=doc, **settings)


_ENTRIES = (
    _built_in("countdown", 276, "three numbers and a target; every right answer is known"),
    _built_in("countdown4", 300, "four numbers and a target; every right answer is known"),
    _built_in("tree", 1, "the paper's toy: three actions, six rewarded paths"),
    Benchmark("math", "train", "DigitalLearningGmbH/MATH-lighteval", 7500, "math", doc="competition math, all levels"),
    Benchmark(
        "gsm8k_math1",
        "train",
        "openai/gsm8k:main + DigitalLearningGmbH/MATH-lighteval",
        8388,
        "math",
        doc="GSM8K and MATH of level 1: what the paper trains Llama-3.2-3B on",
    ),
    Benchmark("gsm8k", "train, evaluation", "openai/gsm8k:main", 1319, "math", doc="grade-school word problems"),
    _logic("synlogic", "train, evaluation", "MiniMaxAI/SynLogic:easy", None, "synlogic", "logic puzzles of many kinds"),
    Benchmark(
        "reasoning_gym",
        "train, evaluation",
        "reasoning-gym",
        None,
        "reasoning_gym",
        samples=128,
        temperature=1.0,
        top_p=1.0,
        max_completion_length=512,
        doc="problems generated here, `reasoning_gym:TASK`; needs simko[reasoning-gym]",
    ),
    Benchmark("math500", "evaluation", "HuggingFaceH4/MATH-500", 500, "math", doc="500 problems of MATH's test part"),
    Benchmark("minerva", "evaluation", "math-ai/minervamath", 272, "math", doc="undergraduate science"),
    Benchmark(
        "olympiadbench",
        "evaluation",
        "Hothan/OlympiadBench:OE_TO_maths_en_COMP",
        675,
        "math",
        doc="olympiad problems, English, open-ended, text only",
    ),
    Benchmark("amc23", "evaluation", "math-ai/amc23", 40, "math", samples=300, doc="AMC 12 of 2023"),
    Benchmark("aime24", "evaluation", "HuggingFaceH4/aime_2024", 30, "math", samples=300, doc="AIME I and II of 2024"),
    Benchmark("aime25", "evaluation", "math-ai/aime25", 30, "math", samples=300, doc="AIME I and II of 2025"),
    _logic("bbh", "evaluation", "lukaemon/bbh", 6511, "bbh", "BIG-Bench Hard, 27 subtasks; `bbh:SUBTASK` takes one"),
)
CATALOGUE: dict[str, Benchmark] = {entry.name: entry for entry in _ENTRIES}
"""Every task by name."""
BENCHMARKS: dict[str, Benchmark] = {
    name: entry
    for name, entry in CATALOGUE.items()
    if "evaluation" in entry.purpose and entry.grader not in ("listed", "reasoning_gym")
}
BENCHMARKS |= {f"bbh:{name}": replace(CATALOGUE["bbh"], name=f"bbh:{name}", rows=None) for name in SUBTASKS}
"""What can be evaluated on by name alone: built-in tasks are made by `task_for`, generated ones need a task's name."""


def find_benchmark(name: str) -> Benchmark:
    """The entry of a name that is evaluated on, `bbh:SUBTASK` and `reasoning_gym:TASK` too.

    Raises:
        TaskUnknown: there is none; the nearest is named.
    """
    from ...store.errors import nearest

    if name in BENCHMARKS:
        return BENCHMARKS[name]
    family, colon, _ = name.partition(":")
    if colon and family in ("bbh", "reasoning_gym"):
        return replace(CATALOGUE[family], name=name, rows=None)
    near = nearest(name, BENCHMARKS)
    names = [name for name in BENCHMARKS if ":" not in name]
    hint = f"did you mean {near}?" if near else f"there are {', '.join(names)}, bbh:SUBTASK and reasoning_gym:TASK"
    raise TaskUnknown(f"there is no benchmark {name!r}; {hint}")


def benchmark_for(
    name: str,
    *,
    dataset: str | None = None,
    tokenizer: Any = None,
    prompt_style: str | None = None,
    limit: int | None = None,
) -> Task:
    """The task of a benchmark: its `heldout` are the problems, its `settings` how the paper draws from them.

    Args:
        name: one of `BENCHMARKS`, `bbh:SUBTASK` or `reasoning_gym:TASK`.
        dataset: hub id or local file or folder of its problems; default: the catalogue's source.
        tokenizer: with a chat template, prompts are chat messages; without one, or None, they are plain text.
        prompt_style: `chat`, `plain` or `few_shot`, to have it otherwise.
        limit: at most that many problems, drawn once and for all; None takes all.

    Raises:
        TaskUnknown: no such benchmark.
        TaskOptionRefused: an option does not fit it.
        ChatTemplateUnusable: the tokenizer's template fails, or loses the question.
        PackageMissing: what makes or judges the problems is not installed.
        DatasetNotFound, DatasetUnreadable, ColumnsMissing: its data cannot be used.
    """
    from .benchmarks import make_benchmark

    return make_benchmark(find_benchmark(name), dataset, tokenizer, prompt_style, limit)
