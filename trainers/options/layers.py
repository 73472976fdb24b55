"""What a person has asked for, before torch is imported: command line, recipe and resumed run, checked and in layers.

Later wins: the task's recipe, the method's settings, the resumed run's options, `--config FILE`, flags. Every name is
known and every value is of its type and in its range when `read_layers` returns, within a second; what is left to
`parsing.py` are contradictions between options, which TRL's own configuration finds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...store.errors import UsageError
from ...store.layout.manifest import newest_options
from ...store.layout.regular_files import read_regular
from ...store.layout.run import LARGEST_RUN_FILE, check_name
from ..engine.checkpoints import split_resume
from .arguments import RENAMED, own_options
from .known_options import trl_options
from .methods import METHODS, check_options, owner
from .recipe_files import GENERATED, read_recipe, recipe, tasks_with_recipes
from .values import TRL_LIMITS, check_value, hint, members

_TRACKERS = {
    "azure_ml": "azureml", "clearml": "clearml", "codecarbon": "codecarbon", "comet_ml": "comet_ml",
    "dagshub": "dagshub", "dvclive": "dvclive", "flyte": "flytekit", "mlflow": "mlflow", "neptune": "neptune",
    "swanlab": "swanlab", "tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb",
}  # fmt: skip
"""Name that `--report_to` takes → the package it needs."""


@dataclass(frozen=True)
class Layers:
    """Options in layers, ready for the parser.

    Attributes:
        arguments: the command line without `--config`.
        layers: options by name, the last one winning over those before it.
        task, method: what is trained, and by what.
        run_dir: the run's folder.
        resumes: whether the run that is there goes on.
        notes: what the person did not say and might want to know, a line each.
        plans: whether the run is only to be planned.
        missing: what the run needs and is not installed, a line each; empty unless the run is only planned.
    """

    arguments: list[str]
    layers: list[dict[str, Any]]
    task: str
    method: str
    run_dir: Path
    resumes: bool
    notes: list[str]
    plans: bool = False
    missing: list[str] = field(default_factory=list)


def read_layers(arguments: list[str]) -> Layers:
    """Read and check a command line (without the program's name).

    Raises:
        UsageError: an option is unknown, malformed or out of range, or belongs to another method.
        RunNameInvalid: `--run_name` is not the name of one folder.
    """
    arguments = list(arguments)
    config = take(arguments, "config")
    flags = dict(_flags(arguments))
    check_names(list(flags), "on the command line")
    for name, value in flags.items():
        if value is not None:
            check_option(name, value)
    layers: list[dict[str, Any]] = []
    given = list(flags)
    of_recipe: list[str] = []
    resume = flags.get("resume")
    if "resume" in flags:
        if not resume:
            raise UsageError("--resume needs the folder of a run")
        run_dir, _ = split_resume(resume)
        layers.append({**saved_options(run_dir), "output_dir": str(run_dir), "resume": resume})
    if config is not None:
        layers.append(_checked_recipe(config))
        of_recipe = list(layers[-1])

    def value_of(name: str) -> Any:
        """The value an option will have: flags first, then the layers, the last one winning."""
        if flags.get(name) is not None:
            return flags[name]
        return next((layer[name] for layer in reversed(layers) if layer.get(name) is not None), None)

    notes = []
    task = value_of("task")
    if task is None:
        if value_of("dataset") is not None or value_of("model") is not None:
            raise UsageError(f"--model and --dataset need a --task: {', '.join(tasks_with_recipes())}")
        task = "countdown"
        if config is not None:
            notes.append(f"{config} names no task: training {task}")
    family, colon, _ = str(task).partition(":")
    if task == GENERATED:
        raise UsageError(f"--task {task} needs the name of a task: {task}:letter_counting")
    if task not in tasks_with_recipes() and not (colon and family == GENERATED):
        raise UsageError(f"unknown --task {task}{hint(task, tasks_with_recipes())}")
    method = value_of("method") or "simko"
    if method not in METHODS:
        raise UsageError(f"unknown --method {method}{hint(method, METHODS)}")
    # A resumed run's own options hold the recipe's for other methods too, and so does a recipe whose method a flag
    # has changed.
    written_for = layers[-1].get("method", method) if config is not None else method
    check_options(method, [*given, *(name for name in of_recipe if owner(name) != written_for)])
    plans = "plan" in flags and str(flags["plan"]).lower() not in ("false", "0", "no")
    missing = _missing_packages(value_of)
    if missing and not plans:
        raise UsageError(missing[0])
    run_name = f"{task.replace(':', '-')}-{method}-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}"
    defaults = {**recipe(task), **METHODS[method].settings, "task": task, "run_name": run_name, "report_to": "none"}
    layers.insert(0, defaults)
    if method != written_for:
        layers.append(METHODS[method].settings)  # its own settings, not those of the method the recipe is for
    resumes = value_of("resume") is not None
    return Layers(arguments, layers, task, method, _run_dir(value_of), resumes, notes, plans, missing)


def take(arguments: list[str], name: str) -> str | None:
    """Remove `--name VALUE` or `--name=VALUE` from the arguments and return the last value.

    Raises:
        UsageError: the value is missing.
    """
    value = None
    i = 0
    while i < len(arguments):
        flag, equals, rest = arguments[i].partition("=")
        if flag.startswith("--") and flag[2:].replace("-", "_") == name:
            if not equals and i + 1 >= len(arguments):
                raise UsageError(f"--{name} needs a value")
            value = rest if equals else arguments[i + 1]
            del arguments[i : i + (1 if equals else 2)]
        else:
            i += 1
    return value


def known_names() -> set[str]:
    """Every option, ours and TRL's."""
    return {*own_options(), *trl_options(), "output_dir"}


def check_names(names: list[str], where: str) -> None:
    """Refuse unknown options.

    Args:
        names: with underscores; `no_<name>` switches an option off.
        where: where they stand, for the message.

    Raises:
        UsageError: naming the option and the nearest known one.
    """
    if not trl_options():
        return
    known = known_names()
    for name in names:
        if name in known or name.removeprefix("no_") in known:
            continue
        if name in RENAMED:
            raise UsageError(f"option {name} {where} is now called {RENAMED[name]}")
        listing = "`simko-train --help-all` lists every option"
        raise UsageError(f"unknown option {name} {where}{hint(name, known, listing)}")


def check_option(name: str, value: Any, where: str = "") -> None:
    """Refuse a value that one of our or TRL's options cannot have.

    Raises:
        UsageError: saying what it must be.
    """
    own = own_options().get(name)
    check_value(name, value, _type_of(name), own.limits if own else TRL_LIMITS.get(name), where)


def saved_options(run_dir: Path) -> dict[str, Any]:
    """The options a run was last started with: those of its newest attempt, or of its `run.json`.

    Raises:
        UsageError: the folder holds no run, or its `run.json` cannot be used.
    """
    damaged = f"--resume {run_dir}: run.json is damaged; start a new run from one of its checkpoints"
    try:
        content = json.loads(read_regular(run_dir / "run.json", LARGEST_RUN_FILE))
    except OSError as error:
        raise UsageError(
            f"--resume {run_dir}: no run there (no readable run.json); give the folder of a run"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(damaged) from error
    options = newest_options(run_dir) or (content.get("config", {}) if isinstance(content, dict) else None)
    if not isinstance(options, dict):
        raise UsageError(damaged)
    options = {RENAMED.get(name, name): value for name, value in options.items()}
    where = f"{run_dir / 'run.json'}"
    check_names(list(options), f"in {where}")
    for name, value in options.items():
        check_option(name, value, where)
    return options


def _checked_recipe(config: str) -> dict[str, Any]:
    content = read_recipe(Path(config))
    check_names(list(content), f"in {config}")
    for name, value in content.items():
        if isinstance(value, (dict, list)) and not {object, type(value)} & members(_type_of(name)):
            raise UsageError(f"--{name} in {config} takes one value, not {json.dumps(value, default=str)[:60]}")
        if not isinstance(value, (dict, list, str, int, float, bool, type(None))):
            raise UsageError(f"--{name} in {config} cannot be {type(value).__name__} {str(value)[:40]!r}")
        check_option(name, value, config)
    return content


def _type_of(name: str) -> Any:
    """The type of an option's value; object where it is not known."""
    own = own_options().get(name)
    return own.type if own else trl_options().get(name, object)


def _flags(arguments: list[str]) -> Iterator[tuple[str, str | None]]:
    """The options of a command line with their values; None for one that stands alone."""
    for place, argument in enumerate(arguments):
        if not argument.startswith("--") or argument == "--":
            continue
        flag, equals, value = argument[2:].partition("=")
        following = arguments[place + 1] if place + 1 < len(arguments) else None
        alone = following is None or following.startswith("--")
        yield flag.replace("-", "_"), value if equals else None if alone else following


def _missing_packages(value_of: Any) -> list[str]:
    """Trackers and engines that are asked for and not installed, before the model is loaded.

    Raises:
        UsageError: there is no such tracker.
    """
    missing = []
    trackers = value_of("report_to")
    for name in trackers if isinstance(trackers, list) else [trackers]:
        if name in (None, "none", "all"):
            continue
        if name not in _TRACKERS:
            raise UsageError(f"unknown --report_to {name}{hint(name, ['none', 'all', *_TRACKERS])}")
        if find_spec(_TRACKERS[name]) is None:
            missing.append(f"--report_to {name} needs the package {_TRACKERS[name]}: pip install {_TRACKERS[name]}")
    if str(value_of("use_vllm")).lower() in ("true", "1", "yes") and find_spec("vllm") is None:
        missing.append("--use_vllm needs the package vllm, which is not installed; without it TRL generates in process")
    return missing


def _run_dir(value_of: Any) -> Path:
    """`--output_dir`, else `runs/<run_name>`."""
    name, folder = value_of("run_name"), value_of("output_dir")
    if folder is not None:
        if not str(folder).strip():
            raise UsageError("--output_dir is empty; name the run's folder, or leave the option out")
        return Path(str(folder))
    check_name(str(name))
    return Path("runs") / str(name)
