r"""From a data set's row to a problem: question and gold answer, in the layouts that math data sets come in.

| layout | question | gold answer |
|---|---|---|
| verl | `prompt` (messages or text) | `reward_model.ground_truth`: text, or its `solution`'s box, else its `target` |
| OlympiadBench | `question` or `problem` | `final_answer` (text or list) |
| GSM8K | `question` or `problem` | `answer`, what follows `####` |
| MATH-500, AIME | `question` or `problem` | `answer` |
| MATH, Minerva | `question` or `problem` | the last `\boxed{…}` of `solution` |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ColumnsMissing, DatasetUnreadable
from .graders.boxed import last_boxed
from .prompts import Message, Prompts

_QUESTIONS = ("problem", "question")
_ANSWERS = ("final_answer", "answer", "solution")
_WANTED = "`prompt` with `reward_model`, or `question` or `problem` with `answer`, `final_answer` or `solution`"


def check_columns(row: dict[str, Any], source: str) -> None:
    """Whether a row can be read at all.

    Raises:
        ColumnsMissing: naming the columns found and those wanted.
    """
    verl = "prompt" in row and "reward_model" in row
    plain = any(name in row for name in _QUESTIONS) and any(name in row for name in _ANSWERS)
    if not verl and not plain:
        raise ColumnsMissing(f"{source} has the columns {', '.join(map(str, row)) or '(none)'}; wanted are {_WANTED}")


def read_problem(row: dict[str, Any]) -> tuple[list[Message], str | None]:
    """(messages that ask the question, gold answer or None if the row has none)."""
    if "reward_model" in row and "prompt" in row:
        prompt = row["prompt"]
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        truth = (row["reward_model"] or {}).get("ground_truth")
        gold = _verl_gold(truth) if isinstance(truth, dict) else _answer(truth)
        return [{"role": m["role"], "content": m["content"]} for m in messages], gold
    question = next(row[name] for name in _QUESTIONS if row.get(name) is not None)
    return [{"role": "user", "content": str(question)}], _gold(row)


def _verl_gold(truth: dict[str, Any]) -> str | None:
    solution = truth.get("solution")  # some published targets are empty or mangled (`{June20}`); the box never is
    return _answer(last_boxed(solution) if isinstance(solution, str) else None) or _answer(truth.get("target"))


def _gold(row: dict[str, Any]) -> str | None:
    for name in _ANSWERS:
        value = row.get(name)
        if name == "solution" and isinstance(value, str):
            value = last_boxed(value)
        gold = _answer(value)
        if gold is not None:
            return gold
    return None


def _answer(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        value = value[0] if len(value) == 1 else ", ".join(map(str, value))
    if value is None:
        return None
    text = str(value)
    if "####" in text:
        text = text.rpartition("####")[2]
    elif "\\boxed{" in text:
        text = last_boxed(text) or text
    return text.strip() or None


def as_dataset(rows: Sequence[dict[str, Any]], name: str, *, prompts: Prompts, source: str) -> tuple[Any, int]:
    """A task's data set (`prompt`, `prompt_id`, `answer`) from rows of any of the layouts.

    Returns:
        (`datasets.Dataset`, number of rows left out because they have no gold answer).

    Raises:
        ColumnsMissing: the rows are of no known layout.
        DatasetUnreadable: a row cannot be read, or none has a gold answer.
    """
    from datasets import Dataset

    check_columns(rows[0], source)
    columns: dict[str, list[Any]] = {"prompt": [], "prompt_id": [], "answer": []}
    for index, row in enumerate(rows):
        try:
            messages, gold = read_problem(row)
            prompt = prompts.of(messages)
        except (StopIteration, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetUnreadable(
                f"{source} row {index + 1} has no readable question (columns {', '.join(row)}); mend or remove it"
            ) from error
        if gold is None:
            continue
        columns["prompt"].append(prompt)
        columns["prompt_id"].append(f"{name}-{index}")
        columns["answer"].append(gold)
    if not columns["answer"]:
        raise DatasetUnreadable(f"no row of {source} has a gold answer; wanted are {_WANTED}")
    return Dataset.from_dict(columns), len(rows) - len(columns["answer"])
