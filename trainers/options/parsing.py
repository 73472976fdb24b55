"""From layers of options to the two configurations that training takes: TRL's `TrlParser`, with its quirks put right.

Names and values have been checked before (`layers.py`); here options that contradict each other are refused, by TRL's
own words. Quirks put right: `--config=FILE`, prefixes of option names, tracebacks for a missing or malformed file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import torch
from trl import GRPOConfig, TrlParser

from ...store.errors import UsageError
from ...store.layout.run import check_name
from .arguments import RunArguments
from .layers import Layers, read_layers
from .methods import METHODS
from .recipe_files import recipe


class _Parser(TrlParser):
    """Argument errors become one-line `UsageError`s."""

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


def parse(arguments: list[str]) -> tuple[RunArguments, SimkoConfig]:
    """Parse a command line (without the program's name).

    Raises:
        UsageError: an option is unknown, malformed, or contradicts another.
    """
    return build(read_layers(arguments))


def build(asked: Layers) -> tuple[RunArguments, SimkoConfig]:
    """The options as TRL and we read them.

    Raises:
        UsageError: an option contradicts another.
    """
    parser = _parser()
    defaults: dict[str, Any] = {}
    if not torch.accelerator.is_available():
        defaults["use_cpu"] = True  # bf16, TRL's default, is refused without a GPU unless the CPU is asked for
    for layer in [defaults, *asked.layers]:
        parser.set_defaults_with_config(**layer)
    try:
        run, config = parser.parse_args_into_dataclasses(args=asked.arguments)
    except (ValueError, TypeError, ImportError) as error:  # raised by the options' own checks
        raise UsageError(re.sub(r"\s+", " ", str(error))) from error
    return run, config


def as_options(run: RunArguments, config: SimkoConfig) -> dict[str, Any]:
    """The options a run cannot do without, as plain values: what `--resume` reads back.

    Those that differ from the default of their class, or from what the recipe or the method would make of them.
    """
    layered = {**recipe(run.task or "countdown"), **METHODS[run.method].settings}
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
