"""`simko tasks`: the tasks and benchmarks by name; one of them with its settings and its first problems.

    simko tasks
    simko tasks amc23 --dataset amc23.parquet --show 2
    simko tasks reasoning_gym:gcd --prompt_style few_shot

A problem is shown as a model sees it: with `--model`, through that model's chat template.
"""

from __future__ import annotations

import argparse
from typing import Any

from .terminal.parser import Parser


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko tasks", description="The tasks and benchmarks by name, or one of them with problems.")
    parser.add_argument("name", nargs="?", help="a task, `bbh:SUBTASK` or `reasoning_gym:TASK` (default: list all)")
    parser.add_argument("--dataset", metavar="FILE", help="its problems: hub id, local file or folder")
    parser.add_argument("--show", metavar="N", type=_count, default=1, help="problems to show [1]")
    parser.add_argument("--prompt_style", metavar="STYLE", help="chat, plain or few_shot")
    parser.add_argument("--task_options", metavar="OPTIONS", help="of a generated task, NAME=VALUE,NAME=VALUE")
    parser.add_argument("--model", metavar="MODEL", help="hub id or folder whose tokenizer writes the prompts")
    parser.add_argument("--all", action="store_true", help="every column, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: there is no such task, or its problems cannot be had.
    """
    if options.name is None:
        _list(everything=options.all)
        return 0
    tokenizer = _tokenizer(options.model)
    task = _task(options, tokenizer)
    try:
        _show(task, options.show, tokenizer, options.dataset)
    finally:
        task.close()
    return 0


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if not 0 <= count <= 1000:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 1000, not {text}")
    return count


def _list(*, everything: bool) -> None:
    from ..trainers.tasks.catalogue import CATALOGUE
    from .terminal.tables import Column, Table

    table = Table(
        Column("task"),
        Column("for", importance=5),
        Column("problems", numeric=True, importance=4),
        Column("prompt", importance=2),
        Column("grader", importance=3),
        Column("source", importance=1),
        Column("what it is", importance=6, wraps=True),
    )
    for entry in CATALOGUE.values():
        table.add(entry.name, entry.purpose, entry.rows, entry.prompt, entry.grader, entry.source, entry.doc)
    table.print(everything=everything)


def _tokenizer(model: str | None) -> Any:
    if model is None:
        return None
    from ..trainers.models.loading import load_tokenizer

    return load_tokenizer(model)


def _task(options: argparse.Namespace, tokenizer: Any) -> Any:
    """To evaluate on where it can be, else to train on."""
    from ..trainers.tasks import check_task, task_for
    from ..trainers.tasks.catalogue import CATALOGUE, benchmark_for

    name: str = options.name
    entry = CATALOGUE.get(name)
    generated = name.startswith("reasoning_gym:")
    if generated or (entry is not None and (entry.purpose == "train" or entry.grader == "listed")):
        check_task(name)
        return task_for(
            name,
            dataset=options.dataset,
            tokenizer=tokenizer,
            prompt_style=options.prompt_style,
            options=options.task_options,
        )
    if options.task_options:
        from ..trainers.errors import TaskOptionRefused

        raise TaskOptionRefused(f"task {name} has no --task_options; reasoning_gym:TASK has")
    return benchmark_for(name, dataset=options.dataset, tokenizer=tokenizer, prompt_style=options.prompt_style)


def _show(task: Any, count: int, tokenizer: Any, dataset: str | None) -> None:
    from ..trainers.tasks.catalogue import CATALOGUE
    from .terminal.output import printable

    settings = task.settings or CATALOGUE[task.name]
    parts = {"to train on": task.train, "to evaluate on": task.heldout}
    print(printable(f"{task.name}: {settings.doc}"))
    facts = {
        "problems": ", ".join(f"{len(rows)} {what}" for what, rows in parts.items() if rows is not None),
        "source": dataset or settings.source,
        "grader": settings.grader,
        "prompt": settings.prompt,
        "ends at": ", ".join(map(repr, task.stop)) or "the end token",
        "drawn": f"{settings.samples} per problem, T {settings.temperature:g}, top-p {settings.top_p:g}, at most "
        f"{task.max_completion_length} tokens",
    }
    for name, value in facts.items():
        print(f"  {name:<9} {printable(value)}")
    rows = _rows(task)
    for row in rows.select(range(min(count, len(rows)))):
        print(f"\n--- {printable(row['prompt_id'])}")
        print(_lines(_rendered(row["prompt"], tokenizer)))
        print(f"--- answer: {printable(str(row['answer']))}")


def _rows(task: Any) -> Any:
    return task.train if task.heldout is None else task.heldout


def _rendered(prompt: Any, tokenizer: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    text: str = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    return text


def _lines(text: str) -> str:
    from .terminal.output import printable

    return "\n".join(printable(line) for line in text.splitlines())
