"""Reads `--task_options`: `max_words=2,size=500`, a JSON object, or the mapping of a recipe. Nothing is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import TaskOptionRefused


def read_options(options: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Options by name; values are numbers, true and false, lists and the like as JSON writes them, else text.

    Raises:
        TaskOptionRefused: it cannot be read, or an option is given twice.
    """
    if options is None:
        return {}
    if isinstance(options, Mapping):
        return dict(options)
    text = options.strip()
    if text.startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise TaskOptionRefused(f"--task_options {text} is not valid JSON ({error})") from error
    read: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise TaskOptionRefused(f"--task_options must be NAME=VALUE,NAME=VALUE or a JSON object, not {text}")
        if name in read:
            raise TaskOptionRefused(f"--task_options gives {name} twice")
        read[name] = _value(value)
    return read


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
