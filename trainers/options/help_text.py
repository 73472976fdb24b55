"""The text of `simko-train --help`: our options by group, the methods each with its own. No torch is imported."""

from __future__ import annotations

import textwrap
from typing import Any, Literal, get_args, get_origin

from .arguments import GROUPS, OwnOption, own_options
from .methods import METHODS
from .values import members

USAGE = """\
usage: simko-train [--config RECIPE.yaml] [--OPTION VALUE ...]

Train a language model with verifiable rewards and see what it does to the next-token distribution.
The run's folder is --output_dir (default: runs/<run_name>)."""

TRL = {
    "run": (
        ("run_name NAME", "Name of the run [<task>-<method>-<time>]."),
        ("output_dir DIR", "The run's folder [runs/<run_name>]."),
        ("max_steps N", "Optimizer steps to train for."),
        ("seed N", "Of sampling and shuffling."),
        ("save_steps N", "Optimizer steps between checkpoints."),
        ("learning_rate X", "Step size; the task's recipe has one."),
        ("num_generations G", "Responses per prompt: the size of a group."),
        ("per_device_train_batch_size B", "Responses per micro-batch."),
        ("steps_per_generation S", "Micro-batches trained on per rollout batch."),
        ("max_completion_length T", "Tokens per response at most."),
        ("temperature T", "Of sampling, and of every log-prob that is trained on and logged."),
    ),
}
"""Options of TRL's `GRPOConfig` that are used often, by the group they are shown in."""


def short_help() -> str:
    """The usage text with our own options and the common ones of TRL."""
    shared = [option for option in own_options().values() if option.method is None]
    lines = [USAGE]
    for group, heading in GROUPS.items():
        lines += ["", f"{heading}:"]
        for option in shared:
            if option.group == group and option.name != "method":
                lines += _entry(option)
        if group == "method":
            lines += _methods()
        for name, words in TRL.get(group, ()):
            lines += [f"  --{name}", *_wrapped(words)]
    lines += ["", "Every other option of TRL's GRPOConfig works under its own name: simko-train --help-all"]
    return "\n".join(lines) + "\n"


def _methods() -> list[str]:
    lines = ["  --method NAME [simko]", "        What to train by; the options of a method follow its name:"]
    own = own_options()
    for name, method in METHODS.items():
        lines += ["", f"    {name}: {method.doc}"]
        for option in method.options:
            lines += [f"    {line}" for line in _entry(own[f"{name}_{option.name}"])]
    return [*lines, ""]


def _entry(option: OwnOption) -> list[str]:
    choices = [choice for kind in members(option.type) if get_origin(kind) is Literal for choice in get_args(kind)]
    value = " " + "|".join(choices) if choices else "" if option.default is False else _placeholder(option.type)
    default = "" if option.default in (None, False) else f" [{str(option.default).lower()}]"
    return [f"  --{option.name}{value}{default}", *_wrapped(option.help)]


def _wrapped(words: str) -> list[str]:
    return textwrap.wrap(words, 92, initial_indent=" " * 8, subsequent_indent=" " * 8)


def _placeholder(kind: Any) -> str:
    kinds = members(kind)
    if bool in kinds:
        return " true|false"
    return " N" if int in kinds else " X" if float in kinds else " NAME"
