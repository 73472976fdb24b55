"""The verifiers of SynLogic's tasks, written anew as pure functions: a response in, a judgement out.

No response is evaluated as code, and none takes long, whatever it holds: what is parsed is bounded in length and depth.
Verdicts are those of the published verifiers (arXiv 2505.19641), pickiness about format included, but for the kinds in
`EXCEPTIONS`, where those are plainly wrong.

A row is in verl's layout: `data_source` names the task, `prompt` holds the messages, `extra_info.game_data_str` the
puzzle as JSON (`question`, `answer`, `metadata`), `reward_model.ground_truth` its answer as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import expressions, latin, lines, placement, relations, sequences
from .judgement import (
    EXCEPTIONS,
    LONGEST_RESPONSE,
    NOT_FOUND,
    UNJUDGED,
    Difference,
    Judgement,
    Puzzle,
    PuzzleUnreadable,
    Verifier,
    answer_text,
)

__all__ = [
    "EXCEPTIONS",
    "VERIFIERS",
    "Difference",
    "Judgement",
    "Puzzle",
    "PuzzleUnreadable",
    "Verifier",
    "answer_text",
    "judge",
    "judge_json",
    "problem_of",
    "task_name",
]

_FAMILIES = (expressions, latin, lines, placement, relations, sequences)
VERIFIERS: dict[str, Verifier] = dict(sorted(pair for family in _FAMILIES for pair in family.VERIFIERS.items()))
"""Task → its verifier."""
_OTHER_NAMES = {"mathador": "game_of_24", "arc_agi_2": "arc_agi"}


def task_name(data_source: str) -> str:
    """The task's name in `VERIFIERS`, of a `data_source` such as `sudoku`, `val/sudoku` or `mathador`."""
    name = data_source.rpartition("/")[2]
    return _OTHER_NAMES.get(name, name)


def judge(
    task: str, response: str, ground_truth: Any, game_data: Mapping[str, Any] | str, *, tags: bool = True
) -> Judgement:
    """Judge one response.

    Args:
        task: a name of `VERIFIERS`, or a `data_source`.
        response: what the model wrote, special tokens removed.
        ground_truth: the reference answer, where `game_data` has none.
        game_data: the puzzle: `metadata`, `question` and `answer` as far as the verifier needs them; or that as JSON.
        tags: judge the text of `<answer>…</answer>` where there is one, see `answer_text`.

    Returns:
        `unjudged` for a task without a verifier and for a puzzle whose data cannot be read.
    """
    verifier = VERIFIERS.get(task_name(task))
    try:
        data = json.loads(game_data) if isinstance(game_data, str) else game_data
        puzzle = _puzzle(data, ground_truth)
    except ValueError:
        return UNJUDGED
    if verifier is None:
        return UNJUDGED
    if len(response) > LONGEST_RESPONSE:
        return NOT_FOUND
    try:
        return verifier.judge(answer_text(response, tags=tags), puzzle)
    except PuzzleUnreadable:
        return UNJUDGED


def _puzzle(data: Any, ground_truth: Any) -> Puzzle:
    if not isinstance(data, Mapping):
        raise PuzzleUnreadable("the puzzle is no object")
    metadata = data.get("metadata")
    answer = data["answer"] if data.get("answer") is not None else ground_truth
    return Puzzle(answer, str(data.get("question") or ""), metadata if isinstance(metadata, Mapping) else {})


def judge_json(response: str, answer_json: str, *, tags: bool = True) -> Judgement:
    """Judge one response against the second text of `problem_of`."""
    try:
        problem = json.loads(answer_json)
        task, answer, data = problem["task"], problem["answer"], problem["game_data"]
    except (ValueError, TypeError, KeyError):
        return UNJUDGED
    return judge(task, response, answer, data, tags=tags)


def problem_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """(prompt, JSON of `task`, `answer` and `game_data`) of a row; of the puzzle's data, what its verifier needs.

    Raises:
        PuzzleUnreadable: the row has another layout, its task has no verifier, or its puzzle lacks what that needs.
    """
    try:
        task = task_name(row["data_source"])
        messages = row["prompt"]
        prompt = messages if isinstance(messages, str) else "\n\n".join(message["content"] for message in messages)
        ground_truth = (row.get("reward_model") or {}).get("ground_truth")
        data = row["extra_info"]["game_data_str"]
        puzzle = _puzzle(json.loads(data) if isinstance(data, str) else data, ground_truth)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise PuzzleUnreadable(
            "a SynLogic row has `data_source`, `prompt`, `reward_model` and `extra_info.game_data_str`"
        ) from error
    verifier = VERIFIERS.get(task)
    if verifier is None:
        raise PuzzleUnreadable(f"there is no verifier for the task {task!r}; there are {', '.join(VERIFIERS)}")
    metadata: dict[str, Any] = {}
    for path in verifier.needs:
        *parents, name = path.split(".")
        inner = metadata
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = puzzle.value(path)
    kept: dict[str, Any] = {"metadata": metadata}
    if verifier.needs_question:
        kept["question"] = puzzle.question
    answer = puzzle.answer if verifier.needs_answer else ground_truth
    text = json.dumps({"task": task, "answer": answer, "game_data": kept}, ensure_ascii=False)
    checked = judge_json("", text)
    if checked.verdict == "unjudged":
        raise PuzzleUnreadable(f"a puzzle of the task {task} cannot be read")
    return prompt, text
