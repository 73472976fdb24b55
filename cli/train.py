"""`simko-train`: train with TRL's GRPOTrainer by a method of the paper, log with the probe, evaluate pass@k.

    simko-train --probe                                   the built-in task, minutes on a laptop
    simko-train --config recipe.yaml --max_steps 100      a flat YAML recipe, overridden by flags
    simko-train --config qwen2.5-math-7b --plan           what a shipped recipe would do; starts nothing
    simko-train --resume runs/my-run                      continue from the latest checkpoint
    simko-train --resume runs/my-run/checkpoint-80        go back to that step and on from there

User mistakes end in one line on stderr and exit code 2; Ctrl-C leaves a readable run and exit code 130.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

from ..store.extras import require
from .terminal.output import INTERRUPTED, USER_ERROR, guarded

if TYPE_CHECKING:
    from ..trainers.options.layers import Layers
    from ..trainers.train import Training

DIVERGED = 3
"""Exit code where the loss, Λ(k) or pass@k turned NaN or infinite."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    if "_ARGCOMPLETE" in os.environ:
        from .completion import complete

        complete()
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries' plans for their own next versions
    return guarded("simko-train", lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    if "--version" in arguments:
        from .simko import installed_version

        print(f"simko {installed_version()}")
        return 0
    if "-h" in arguments or "--help" in arguments:
        from ..trainers.options.help_text import short_help

        print(short_help(), end="")
        return 0
    require("torch", "trl", "transformers", "accelerate", "datasets", "yaml", extra="train")
    if "--help-all" in arguments or "--help_all" in arguments:
        from ..trainers.options.parsing import full_help

        print(full_help())
        return 0

    from ..store.layout.run import check_free
    from ..trainers.options.layers import read_layers

    asked = read_layers(arguments)
    if asked.plans:
        return _plan(asked)
    if _speaks():
        if not asked.resumes:
            check_free(asked.run_dir)
        _announce(asked)
    try:
        from ..trainers.engine.ending import leave_together
        from ..trainers.options.parsing import build
        from ..trainers.train import train

        training = train(*build(asked))
        code = _report(training)
        if training.status == "finished":
            leave_together()
        return code
    except KeyboardInterrupt:  # before the first step: nothing has been logged
        print("simko-train: interrupted", file=sys.stderr)
        return INTERRUPTED


def _speaks() -> bool:
    """Whether this is the first of the processes that a launcher has started, the one that makes the run's folder."""
    return int(os.environ.get("RANK", "0")) == 0


def _announce(asked: Layers) -> None:
    """Say within a second what is about to happen: loading torch, TRL and a model takes many."""
    for note in asked.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"loading torch and TRL: task {asked.task}, method {asked.method}, run folder {asked.run_dir}", flush=True)


def _plan(asked: Layers) -> int:
    """Say what the run would do; exit code 2 where a check failed."""
    from ..trainers.options.parsing import build
    from ..trainers.planning.plan import plan
    from .terminal.plan_text import plan_text

    for note in asked.notes:
        print(f"note: {note}", file=sys.stderr)
    run, config = build(asked)
    made = plan(run, config, asked.missing)
    print(plan_text(made))
    if made.failed:
        print(f"simko-train: {len(made.failed)} checks failed; nothing was started", file=sys.stderr)
    return USER_ERROR if made.failed else 0


def _report(training: Training) -> int:
    """Say how the training ended and what can be done with the run; returns the exit code."""
    if training.speaks and training.status == "interrupted":
        print(f"\ninterrupted at step {training.step}; what was logged is in {training.run_dir}", file=sys.stderr)
        if training.resumable_step is not None:
            step = training.resumable_step
            print(f"continue from step {step}: simko-train --resume {training.run_dir}", file=sys.stderr)
    elif training.speaks and training.status == "diverged":
        print(f"simko-train: {training.reason}: stopped; what was logged is in {training.run_dir}", file=sys.stderr)
        print("try a lower --learning_rate or --max_grad_norm; --on_nan warn goes on in spite of it", file=sys.stderr)
    elif training.speaks and training.probed:
        from .terminal.run_summary import print_summary

        print_summary(training.run_dir, window=training.rollout_steps)
    elif training.speaks:
        print(f"done: {training.run_dir}; add --probe to log what happened to the distribution", flush=True)
    return {"finished": 0, "diverged": DIVERGED}.get(training.status, INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
