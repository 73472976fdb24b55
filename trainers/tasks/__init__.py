"""The tasks by name: `task_for` makes those that are trained on, `catalogue.benchmark_for` those evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...store.errors import nearest
from ..errors import TaskOptionRefused, TaskUnknown
from .base import Task
from .catalogue import CATALOGUE

BUILT_IN = tuple(name for name, entry in CATALOGUE.items() if entry.grader == "listed")
"""Tasks that make their own problems and have a base policy that ships with the package."""
TASKS = tuple(name for name, entry in CATALOGUE.items() if "train" in entry.purpose)
"""Tasks that can be trained on; `reasoning_gym` stands for `reasoning_gym:TASK`."""

__all__ = ["BUILT_IN", "TASKS", "Task", "check_task", "task_for"]


def check_task(name: str) -> None:
    """See that a task can be trained on.

    Raises:
        TaskUnknown: it cannot; the nearest name is told.
    """
    family, _, rest = name.partition(":")
    if name in TASKS and name != "reasoning_gym":
        return
    if family == "reasoning_gym":
        from .reasoning_gym import check_name

        check_name(rest)
        return
    shown = [task if task != "reasoning_gym" else "reasoning_gym:TASK" for task in TASKS]
    if name in CATALOGUE:
        raise TaskUnknown(f"{name} is a benchmark, to evaluate on; choose from {', '.join(shown)} to train")
    near = nearest(name, TASKS)
    hint = f"did you mean {near}?" if near else f"choose from {', '.join(shown)}"
    raise TaskUnknown(f"there is no task {name!r}; {hint}")


def task_for(
    name: str,
    *,
    dataset: str | None = None,
    eval_dataset: str | None = None,
    tokenizer: Any = None,
    prompt_style: str | None = None,
    options: Mapping[str, Any] | str | None = None,
    limit: int | None = None,
    eval_limit: int | None = None,
) -> Task:
    """The task of a name, to train on.

    Args:
        name: one of `TASKS`, or `reasoning_gym:TASK`.
        dataset: hub id or local file of the training problems; default: the task's own on the hub.
        eval_dataset: the same for held-out problems.
        tokenizer: decides whether prompts are chat messages; None makes them plain text.
        prompt_style: `chat`, `plain` or `few_shot`, to have it otherwise.
        options: of a generated task: `max_words=2,size=1000`, JSON, or a mapping.
        limit: at most that many training problems.
        eval_limit: at most that many held-out problems.

    Raises:
        TaskUnknown: no such task.
        TaskOptionRefused: an option does not fit the task.
        ChatTemplateUnusable: the tokenizer's template fails, or loses the question.
        PackageMissing: what makes the problems is not installed.
        DatasetNotFound, DatasetUnreadable, ColumnsMissing: the data set cannot be used.
    """
    check_task(name)
    generated = name in BUILT_IN or name.startswith("reasoning_gym:")
    if generated and (dataset is not None or eval_dataset is not None):
        raise TaskOptionRefused(f"task {name} makes its own problems; leave out --dataset and --eval_dataset")
    if options and not name.startswith("reasoning_gym:"):
        raise TaskOptionRefused(f"task {name} has no --task_options; reasoning_gym:TASK has")
    if name in BUILT_IN:
        from .countdown import Countdown
        from .tree import Tree

        if prompt_style is not None:
            raise TaskOptionRefused(f"task {name} writes its own prompts; leave out --prompt_style")
        return Tree() if name == "tree" else Countdown(4 if name == "countdown4" else 3)
    common: dict[str, Any] = {"tokenizer": tokenizer, "prompt_style": prompt_style}
    if generated:
        from .reasoning_gym import ReasoningGymTask

        return ReasoningGymTask(name.partition(":")[2], options, **common)
    common |= {"dataset": dataset, "eval_dataset": eval_dataset, "limit": limit, "eval_limit": eval_limit}
    if name == "synlogic":
        from .puzzles import synlogic_task

        return synlogic_task(**common)
    from .math import math_task

    return math_task(name, **common)
