"""`simko-train`: train with TRL's GRPOTrainer by a method of the paper, log with the probe, evaluate pass@k.

    simko-train --probe                                   the built-in task, minutes on a laptop
    simko-train --config recipe.yaml --max_steps 100      a flat YAML recipe, overridden by flags
    simko-train --resume runs/my-run                      continue from the latest checkpoint
    simko-train --resume runs/my-run/checkpoint-80        go back to that step and on from there

User mistakes end in one line on stderr and exit code 2; Ctrl-C leaves a readable run and exit code 130.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from typing import TYPE_CHECKING, get_args, get_type_hints

from ..store.errors import SimkoError
from ..trainers.options.arguments import RunArguments

if TYPE_CHECKING:
    from ..trainers.train import Training

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells use it."""

_USAGE = """\
usage: simko-train [--config RECIPE.yaml] [--OPTION VALUE ...]

Train a language model with verifiable rewards and see what it does to the next-token distribution.
The run's folder is --output_dir (default runs/<run_name>).
"""
_COMMON = """
often used options of TRL's GRPOConfig (all of them: simko-train --help-all):
  --run_name NAME, --output_dir DIR, --max_steps N, --seed N, --learning_rate X, --num_generations G,
  --per_device_train_batch_size B, --steps_per_generation S, --max_completion_length T, --save_steps N
"""


def short_help() -> str:
    """The usage text with our own options, made without importing torch or TRL."""
    lines = [_USAGE, "options:"]
    types = get_type_hints(RunArguments)
    for option in dataclasses.fields(RunArguments):
        choices = [choice for part in (types[option.name], *get_args(types[option.name])) for choice in get_args(part)]
        choices = [choice for choice in dict.fromkeys(choices) if isinstance(choice, str)]
        default = "" if option.default in (None, False) else f" [{option.default}]"
        lines.append(f"  --{option.name}{' ' + '|'.join(choices) if choices else ''}{default}")
        lines.append(f"        {option.metadata['help']}")
    return "\n".join(lines) + "\n" + _COMMON


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "-h" in arguments or "--help" in arguments:
        print(short_help())
        return 0
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' plans for their own next versions
    try:
        from ..trainers.options.parsing import full_help, parse

        if "--help-all" in arguments or "--help_all" in arguments:
            print(full_help())
            return 0
        run, config = parse(arguments)

        from ..trainers.train import train

        return _report(train(run, config))
    except SimkoError as error:
        print(f"simko-train: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `simko-train --help-all | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("simko-train: interrupted", file=sys.stderr)
        return INTERRUPTED


def _report(training: Training) -> int:
    """Say how the training ended and what can be done with the run; returns the exit code."""
    if training.speaks and training.status == "interrupted":
        print(f"\ninterrupted at step {training.step}; what was logged is in {training.run_dir}", file=sys.stderr)
        if training.resumable_step is not None:
            step = training.resumable_step
            print(f"continue from step {step}: simko-train --resume {training.run_dir}", file=sys.stderr)
    elif training.speaks and training.probed:
        from .run_summary import print_summary

        print_summary(training.run_dir, window=training.rollout_steps)
    elif training.speaks:
        print(f"done: {training.run_dir}; add --probe to log what happened to the distribution", flush=True)
    return 0 if training.status == "finished" else INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
