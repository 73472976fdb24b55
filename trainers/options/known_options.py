"""The options of TRL's `GRPOConfig`, read from the installed source without importing it.

Importing TRL takes seconds; a misspelt option is to be refused within one. The fields of the class and of those it
inherits from are annotated assignments, so their names and types can be read off the syntax tree. Where a release of
TRL has its classes elsewhere nothing is found, and `parsing.py` refuses unknown options a little later.
"""

from __future__ import annotations

import ast
import functools
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

_SOURCES = (
    ("trl", "trainer/grpo_config.py", "GRPOConfig"),
    ("trl", "trainer/base_config.py", "_BaseConfig"),
    ("transformers", "training_args.py", "TrainingArguments"),
)
_NAMES = {"int": int, "float": float, "bool": bool, "str": str, "dict": dict, "list": list, "None": type(None)}


@functools.cache
def trl_options() -> dict[str, Any]:
    """Option → its type (int, float, bool, str, dict, list, or a union of them; object where it is none of these).

    Empty where TRL or one of its classes cannot be found.
    """
    options: dict[str, Any] = {}
    for package, file, name in _SOURCES:
        fields = _fields(package, file, name)
        if not fields:
            return {}
        options = fields | options  # the inheriting class has its own idea of a type
    return options


def _fields(package: str, file: str, name: str) -> dict[str, Any]:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        try:
            tree = ast.parse((Path(folder) / file).read_text(encoding="utf-8"))
        except (OSError, SyntaxError):
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return {
                    line.target.id: _type(line.annotation)
                    for line in node.body
                    if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and _is_option(line)
                }
    return {}


def _is_option(line: ast.AnnAssign) -> bool:
    """Whether a field can be set: class variables and `field(init=False)` cannot."""
    if "ClassVar" in ast.unparse(line.annotation):
        return False
    keywords = line.value.keywords if isinstance(line.value, ast.Call) else []
    return not any(keyword.arg == "init" and ast.unparse(keyword.value) == "False" for keyword in keywords)


def _type(annotation: ast.expr) -> Any:
    """The type an annotation names, as far as values can be checked by it."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _type(annotation.left) | _type(annotation.right)
    if isinstance(annotation, ast.Constant):
        return type(None) if annotation.value is None else object
    if isinstance(annotation, ast.Subscript):
        outer = ast.unparse(annotation.value)
        if outer == "Literal":
            return Literal[ast.literal_eval(annotation.slice)]
        return _NAMES.get(outer, object)
    return _NAMES.get(ast.unparse(annotation), object)
