"""The tasks by name."""

from __future__ import annotations

from typing import Any

from ..errors import TaskOptionRefused, TaskUnknown
from .base import Task

TASKS = ("countdown", "countdown4", "tree", "gsm8k", "math")
BUILT_IN = ("countdown", "countdown4", "tree")
"""Tasks that make their own problems and have a base policy that ships with the package."""

__all__ = ["BUILT_IN", "TASKS", "Task", "task_for"]


def task_for(
    name: str,
    *,
    dataset: str | None = None,
    eval_dataset: str | None = None,
    tokenizer: Any = None,
    limit: int | None = None,
    eval_limit: int | None = None,
) -> Task:
    """The task of a name.

    Args:
        name: `countdown`, `countdown4`, `tree`, `gsm8k` or `math`.
        dataset: hub id or local file of the training problems; default: the task's own on the hub.
        eval_dataset: the same for held-out problems.
        tokenizer: decides whether prompts are chat messages; None makes them plain text.
        limit: at most that many training problems.
        eval_limit: at most that many held-out problems.

    Raises:
        TaskUnknown: no such task.
        TaskOptionRefused: a built-in task was given a data set.
        DatasetNotFound, DatasetUnreadable, ColumnsMissing: the data set cannot be used.
    """
    if name in BUILT_IN:
        from .countdown import Countdown
        from .tree import Tree

        if dataset is not None or eval_dataset is not None:
            raise TaskOptionRefused(f"task {name} makes its own problems; leave out --dataset and --eval_dataset")
        return Tree() if name == "tree" else Countdown(4 if name == "countdown4" else 3)
    if name not in TASKS:
        raise TaskUnknown(f"there is no task {name!r}; choose from {', '.join(TASKS)}")
    from . import gsm8k, math

    make = gsm8k.gsm8k_task if name == "gsm8k" else math.math_task
    return make(dataset=dataset, eval_dataset=eval_dataset, tokenizer=tokenizer, limit=limit, eval_limit=eval_limit)
