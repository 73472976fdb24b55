"""What `run.json` says about a training run, beside what the probe itself knows."""

from __future__ import annotations

from typing import Any

from .arguments import RunArguments
from .methods import hyperparameters
from .parsing import SimkoConfig, as_options

_OF_THE_TRAINER = ("learning_rate", "loss_type", "num_generations", "num_iterations", "epsilon", "beta", "seed")


def run_description(
    run: RunArguments, config: SimkoConfig, objective: Any, *, model: str | None, task: str
) -> dict[str, Any]:
    """Entries of `run.json`: method and hyper-parameters, model, task, smoothing, and every option.

    Args:
        run, config: the options.
        objective: the method's objective.
        model: the model's name.
        task: the task's name.
    """
    return {
        "method": run.method,
        "hyperparameters": hyperparameters(run) | {name: getattr(config, name) for name in _OF_THE_TRAINER},
        "model": model,
        "tokenizer": model,
        "task": task,
        "dataset": run.dataset or task,
        "smoothing": {
            "k": getattr(objective, "num_candidates", 0),
            "weighting": getattr(objective, "weighting", "uniform"),
        },
        "config": as_options(run, config),
    }
