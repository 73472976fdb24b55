"""From a command line and a YAML recipe to options: TRL's `TrlParser`, with its quirks mended.

Later wins: the task's recipe, the method's settings, the resumed run's options, `--config FILE`, flags. Unknown keys
are errors that name the nearest known one. Quirks mended: `--config=FILE`, prefixes of option names, tracebacks for a
missing or malformed file.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from trl import GRPOConfig, TrlParser

from ...store.errors import UsageError
from ...store.layout.run import check_name
from ..engine.checkpoints import split_resume
from .arguments import RECIPE_KEYS, RunArguments
from .methods import METHODS, check_options


class _Parser(TrlParser):
    """Argument errors become one-line `UsageError`s with the nearest known option."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message + "; see `simko-train --help`")


@dataclass
class SimkoConfig(GRPOConfig):
    """TRL's `GRPOConfig` with an output folder that defaults to `runs/<run_name>`."""

    output_dir: str | None = field(default=None, metadata={"help": "The run's folder; default: runs/<run_name>."})

    def __post_init__(self) -> None:
        if self.output_dir is None and self.run_name is not None:
            check_name(self.run_name)
            self.output_dir = str(Path("runs") / self.run_name)
        super().__post_init__()


def _parser() -> _Parser:
    return _Parser(dataclass_types=[RunArguments, SimkoConfig], allow_abbrev=False, prog="simko-train")


def full_help() -> str:
    """Every option, ours and TRL's."""
    return _parser().format_help()


def known_options() -> set[str]:
    """The name of every option, ours and TRL's."""
    return _options(_parser())


def _options(parser: _Parser) -> set[str]:
    return {action.dest for action in parser._actions}


def _reject_unknown(keys: list[str], known: set[str], where: str) -> None:
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `simko-train --help-all` lists every option"
            raise UsageError(f"unknown option {key} {where}{hint}")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read --config {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise UsageError(f"--config {path}{where} is not valid YAML; it must be flat lines `option: value`") from error
    if not isinstance(content, dict):
        raise UsageError(f"--config {path} must be flat YAML lines `option: value`")
    return content


def recipe(task: str) -> dict[str, Any]:
    """The default options of a task."""
    content: dict[str, Any] = yaml.safe_load((files(__package__) / "recipes" / f"{task}.yaml").read_text())
    assert all(key in content for key in RECIPE_KEYS)
    return content


def _take(arguments: list[str], name: str) -> str | None:
    """Remove `--name VALUE` or `--name=VALUE` from the arguments and return the last value."""
    value = None
    spellings = {f"--{name}", f"--{name.replace('_', '-')}"}
    i = 0
    while i < len(arguments):
        flag, equals, rest = arguments[i].partition("=")
        if flag in spellings:
            if not equals and i + 1 >= len(arguments):
                raise UsageError(f"--{name} needs a value")
            value = rest if equals else arguments[i + 1]
            del arguments[i : i + (1 if equals else 2)]
        else:
            i += 1
    return value


def _peek(arguments: list[str], name: str, *layers: dict[str, Any]) -> Any:
    """The value an option will have, before the parser exists: flags first, then the layers, the last one winning."""
    flag = _take(list(arguments), name)
    if flag is not None:
        return flag
    return next((layer[name] for layer in reversed(layers) if layer.get(name) is not None), None)


def saved_options(run_dir: Path) -> dict[str, Any]:
    """The options a run was started with, from its `run.json`.

    Raises:
        UsageError: the folder holds no run, or its `run.json` cannot be read.
    """
    path = run_dir / "run.json"
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(
            f"--resume {run_dir}: no run there (no readable run.json); give the folder of a run"
        ) from error
    except json.JSONDecodeError as error:
        raise UsageError(
            f"--resume {run_dir}: run.json is damaged; start a new run from one of its checkpoints"
        ) from error
    options: dict[str, Any] = content.get("config", {})
    return options


def _default_run_name(task: str, method: str) -> str:
    return f"{task}-{method}-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}"


def parse(arguments: list[str]) -> tuple[RunArguments, SimkoConfig]:
    """Parse a command line (without the program's name).

    Raises:
        UsageError: an option is unknown, malformed, or contradicts another.
    """
    arguments = list(arguments)
    config_path = _take(arguments, "config")
    layers: list[dict[str, Any]] = []
    given: list[str] = []
    resume = _peek(arguments, "resume", {})
    parser = _parser()
    known = _options(parser)
    if resume is not None:
        run_dir, _ = split_resume(resume)
        layers.append({**saved_options(run_dir), "output_dir": str(run_dir), "resume": resume})
    if config_path is not None:
        layers.append(_read_yaml(Path(config_path)))
        given += layers[-1]
        _reject_unknown(given, known, f"in {config_path}")
    flags = [a.partition("=")[0][2:].replace("-", "_") for a in arguments if a.startswith("--")]
    _reject_unknown(flags, known | {"no_" + k for k in known}, "on the command line")

    task = _peek(arguments, "task", *layers)
    if task is None:
        if _peek(arguments, "dataset", *layers) is not None or _peek(arguments, "model", *layers) is not None:
            raise UsageError("--model and --dataset need a --task: gsm8k, math, or a built-in one")
        task = "countdown"
    available = [path.name[:-5] for path in (files(__package__) / "recipes").iterdir() if path.name.endswith(".yaml")]
    if task not in available:
        raise UsageError(f"unknown --task {task}; choose from {', '.join(sorted(available))}")
    method = _peek(arguments, "method", *layers) or "simko"
    check_options(method, [*flags, *given])  # a resumed run's own hold the recipe's for other methods too
    defaults = {"task": task, "run_name": _default_run_name(task, method), "report_to": "none"}
    defaults |= {**recipe(task), **METHODS[method].config}
    if not torch.accelerator.is_available():
        defaults["use_cpu"] = True  # bf16, TRL's default, is refused without a GPU unless the CPU is asked for
    for layer in [defaults, *layers]:
        parser.set_defaults_with_config(**layer)
    try:
        run, config = parser.parse_args_into_dataclasses(args=arguments)
    except (ValueError, TypeError) as error:  # raised by the options' own checks
        raise UsageError(re.sub(r"\s+", " ", str(error))) from error
    return run, config


def as_options(run: RunArguments, config: SimkoConfig) -> dict[str, Any]:
    """The options a run cannot do without, as plain values: what `--resume` reads back.

    Those that differ from the default of their class, or from what the recipe or the method would make of them.
    """
    layered = {**recipe(run.task or "countdown"), **METHODS[run.method].config}
    options: dict[str, Any] = {}
    for part in (run, config):
        for option in fields(part):
            value = getattr(part, option.name)
            value = getattr(value, "value", value)  # enums
            differs = value != option.default or layered.get(option.name, value) != value
            if option.init and differs and isinstance(value, (str, int, float, bool, list, dict)):
                options[option.name] = value
    for derived in ("resume", "output_dir", "generation_batch_size", "logging_dir"):
        options.pop(derived, None)
    return options
