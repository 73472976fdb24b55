"""Responses to score, and their file: `.jsonl`, `.json` or `.parquet`, one row per response.

    {"prompt": "2 3 4 24", "completion": "2 * 3 * 4", "verdict": "right", "prompt_id": "p7"}
    {"prompt": [{"role": "user", "content": "…"}], "response": "…", "reward": 0.0, "truncated": true}

`prompt` is text or chat messages; `completion` or `response` is text, or chat messages of which the last one counts.
All else may be missing: a response without verdict and reward is unjudged, and one that is not said to have ended by
itself (`truncated` false, or `finish_reason` `stop`) is scored without an end token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...store.layout.schema import VERDICTS, Verdict
from ..errors import ColumnsMissing, DatasetNotFound, ResponsesUnusable
from ..tasks.dataset import read_rows

_COMPLETIONS = ("completion", "response")
_WANTED = "`prompt` (text or messages) with `completion` or `response`, and perhaps `verdict` or `reward`, `prompt_id`"


@dataclass(frozen=True)
class Response:
    """One response to one prompt.

    Attributes:
        prompt: text, or chat messages.
        completion: its text.
        prompt_id: identity of the prompt.
        verdict: of a judge; `unjudged` where there was none.
        reward: None where there is none.
        truncated: whether it hit a length limit; None where nobody says.
        ended: whether the end token belongs to it.
        token_ids: the tokens it was drawn with, the end included; None: its text is encoded.
    """

    prompt: Any
    completion: str
    prompt_id: str
    verdict: Verdict = "unjudged"
    reward: float | None = None
    truncated: bool | None = None
    ended: bool = False
    token_ids: tuple[int, ...] | None = None


def read_responses(path: Path, limit: int | None = None) -> list[Response]:
    """The responses of a file, the first `limit` rows.

    Raises:
        DatasetNotFound, DatasetUnreadable: there is no such file, or it cannot be read.
        ColumnsMissing: it is of another layout; columns found and wanted are named.
        ResponsesUnusable: a row has no prompt or response, or a verdict that there is not.
    """
    if not path.exists():
        raise DatasetNotFound(f"no file {path}; give an existing .jsonl or .parquet file, or a run")
    _, rows = read_rows(str(path), "eval", limit)
    columns = rows[0]
    if "prompt" not in columns or not any(name in columns for name in _COMPLETIONS):
        raise ColumnsMissing(f"{path} has the columns {', '.join(map(str, columns)) or '(none)'}; wanted are {_WANTED}")
    return [_response(row, f"{path} row {number}") for number, row in enumerate(rows, 1)]


def _response(row: Mapping[str, Any], where: str) -> Response:
    prompt = row.get("prompt")
    completion = next((row[name] for name in _COMPLETIONS if row.get(name) is not None), None)
    if isinstance(completion, list) and completion and isinstance(completion[-1], Mapping):
        completion = completion[-1].get("content")
    if not _is_prompt(prompt):
        raise ResponsesUnusable(f"{where}: the prompt is neither text nor chat messages with role and content")
    if not isinstance(completion, str):
        raise ResponsesUnusable(f"{where}: the response is no text; an empty one is written as an empty text")
    if not isinstance(prompt, str):
        prompt = [{"role": str(m["role"]), "content": str(m["content"])} for m in prompt or ()]
    reward = _reward(row.get("reward"), where)
    truncated = _truncated(row)
    prompt_id = row.get("prompt_id")
    return Response(
        prompt=prompt,
        completion=completion,
        prompt_id=digest_of(prompt) if prompt_id is None else str(prompt_id),
        verdict=_verdict(row.get("verdict"), reward, where),
        reward=reward,
        truncated=truncated,
        ended=truncated is False,
    )


def digest_of(prompt: Any) -> str:
    """An identity of a prompt that has none."""
    return hashlib.blake2b(json.dumps(prompt, ensure_ascii=False).encode(), digest_size=8).hexdigest()


def _is_prompt(prompt: Any) -> bool:
    if isinstance(prompt, str):
        return True
    messages = isinstance(prompt, list) and bool(prompt)
    return messages and all(isinstance(m, Mapping) and "role" in m and "content" in m for m in prompt)


def _reward(value: Any, where: str) -> float | None:
    if value is None:
        return None
    try:
        reward = float(value)
    except (TypeError, ValueError) as error:
        raise ResponsesUnusable(f"{where}: the reward {value!r} is no number") from error
    return None if reward != reward else reward


def _verdict(value: Any, reward: float | None, where: str) -> Verdict:
    """The verdict, or what the reward says: 1 and more is right, as in training."""
    if value is None:
        return "unjudged" if reward is None else "right" if reward >= 1 else "wrong"
    for verdict in VERDICTS:
        if value == verdict:
            return verdict
    raise ResponsesUnusable(f"{where}: there is no verdict {value!r}; there are {', '.join(VERDICTS)}")


def _truncated(row: Mapping[str, Any]) -> bool | None:
    if row.get("truncated") is not None:
        return bool(row["truncated"])
    return {"length": True, "stop": False}.get(str(row.get("finish_reason")))
