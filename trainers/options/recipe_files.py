"""Reads YAML strictly: keys given twice, values that are no options and files that are no text name their place.

A recipe is a flat YAML file, a line `option: value` for each option of `simko-train`. Nothing in it is executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from ...store.errors import UsageError
from .arguments import RECIPE_KEYS
from .values import hint

GENERATED = "reasoning_gym"
"""The family of tasks that are named `reasoning_gym:TASK` and share one recipe."""


def parse_yaml(source: str, text: str) -> Any:
    """The content of a YAML file.

    Raises:
        UsageError: naming the file and the line.
    """
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{source}{line}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date or number that cannot be one
        message = re.sub(r"\s+", " ", str(error))
        raise UsageError(f"{source}: not valid YAML: {message}") from error


class _UniqueKeys(yaml.SafeLoader):
    """YAML where a key given twice is an error, not a silent choice of the second."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = getattr(key_node, "value", None)
            if not isinstance(key, str):
                continue
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def model_recipes() -> dict[str, Any]:
    """The recipes of models by name, as files of the package: what `--config NAME` finds beside files."""
    folder = files(__package__) / "recipes" / "models"
    return {path.name[:-5]: path for path in sorted(folder.iterdir(), key=lambda path: path.name)}


def read_recipe(path: Path) -> dict[str, Any]:
    """The options in a person's recipe, or in one that ships with the package where no file has that name.

    Raises:
        UsageError: it cannot be read, or is no flat YAML of options.
    """
    shipped = model_recipes()
    if str(path) in shipped and not path.exists():
        shipped_content: dict[str, Any] = parse_yaml(str(path), shipped[str(path)].read_text(encoding="utf-8"))
        return shipped_content
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"--config {path} is a folder or a device, not a file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        known = hint(str(path), shipped, f"shipped recipes: {', '.join(shipped)}")
        raise UsageError(f"cannot read --config {path}: {error.strerror or error}{known}") from error
    except ValueError as error:  # not UTF-8, or a name with NUL
        raise UsageError(f"--config {path} is not a text file; it must be flat YAML lines `option: value`") from error
    content = parse_yaml(f"--config {path}", text)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"--config {path} must be flat YAML lines `option: value`")
    return content


def tasks_with_recipes() -> list[str]:
    """The names of the tasks, each with a recipe that ships with the package."""
    return sorted(path.name[:-5] for path in (files(__package__) / "recipes").iterdir() if path.name.endswith(".yaml"))


@cache
def recipe(task: str) -> Mapping[str, Any]:
    """The default options of a task, read once; those of `reasoning_gym:TASK` are the family's."""
    text = (files(__package__) / "recipes" / f"{task.partition(':')[0]}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    assert all(key in content for key in RECIPE_KEYS)
    return MappingProxyType(content)
