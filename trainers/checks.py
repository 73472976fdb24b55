"""What is checked of a run before its first step, and by `--plan` without one: model, ranks, evaluation, processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..probes.errors import TooManyCandidates
from ..store.errors import UsageError
from .options.arguments import RunArguments
from .tasks import BUILT_IN, Task


def model_name(run: RunArguments) -> str | None:
    """`--model`, or the task's own base policy."""
    return run.model or (f"{run.task}-base" if run.task in BUILT_IN else None)


def check_ranks(run: RunArguments, objective: Any, vocabulary: int) -> None:
    """See that the vocabulary has as many candidates as the probe logs and the objective trains on.

    Raises:
        TooManyCandidates: it has fewer.
    """
    for k in (run.probe_k, getattr(objective, "num_candidates", 0)):
        if k > vocabulary:
            raise TooManyCandidates(k, vocabulary)


def check_evaluation(run: RunArguments, task: Task) -> None:
    """See that pass@k can be measured as asked.

    Raises:
        UsageError: the task lacks the problems or the exact answers.
    """
    if not run.pass_at_k_steps:
        return
    if run.pass_at_k_split == "validation" and task.validation is None:
        raise UsageError(f"task {task.name} has no validation problems; use --pass_at_k_split heldout")
    if run.pass_at_k_split == "heldout" and task.heldout is None:
        raise UsageError(f"--pass_at_k_steps needs held-out problems of task {task.name}: give --eval_dataset")
    if not run.pass_at_k_samples and not task.enumerates_answers:
        raise UsageError(f"--pass_at_k_steps needs --pass_at_k_samples: task {task.name} has no exact pass@k")


def other_number_of_processes(run: RunArguments, processes: int) -> str | None:
    """What to say where a launch has another number of processes than the batch sizes are meant for, else None."""
    if run.num_processes in (None, processes):
        return None
    return (
        f"the batch sizes are meant for {run.num_processes} processes and {processes} were launched: a step has "
        f"{processes}/{run.num_processes} of its responses; change --gradient_accumulation_steps and "
        "--steps_per_generation in proportion to keep it"
    )


def sharding_not_given(environment: Mapping[str, str], distributed_type: str) -> str | None:
    """What to say where a launch asked for a sharded model and each process holds the whole one, else None.

    Accelerate 1.15 starts plain DDP on CPUs, whatever was asked, and says nothing.

    Args:
        environment: what `accelerate launch` has set.
        distributed_type: what the accelerator has become, by name.
    """
    for name, asked in (("FSDP", "ACCELERATE_USE_FSDP"), ("DEEPSPEED", "ACCELERATE_USE_DEEPSPEED")):
        if environment.get(asked, "").lower() == "true" and distributed_type != name:
            return (
                f"the launch asked for {name} and got {distributed_type}: every process holds the whole model and its "
                "optimizer; sharding needs GPUs and more than one process"
            )
    return None
