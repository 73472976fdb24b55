"""The plan of a run, from its options alone: steps, tokens, volume of the log, memory, files, and checks.

    simko-train --config qwen2.5-math-7b --plan

Nothing is trained, nothing is written. Every figure says how it comes about. What cannot be known here (a model whose
configuration cannot be read, the sizes of a data set behind an unreachable hub) is left out, and the check that failed
says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checks import model_name
from ..options.arguments import RunArguments
from .checking import Check, check_everything
from .memory import MemoryPart, memory_parts
from .shape import ModelShape

BYTES_PER_ROW = (12.0, 7.0)
"""Bytes of a token row: what it takes without candidates, and per candidate; 47 at K = 5, as measured on a vocabulary
of 49,152 words."""
_OPTIMIZER_BYTES = 12
"""Bytes per trained parameter in a checkpoint that can be resumed: float32 weights and the two moments of AdamW."""


@dataclass(frozen=True)
class Line:
    """One figure of the plan.

    Attributes:
        name: what it is.
        value: the figure, with its unit.
        origin: how it comes about.
    """

    name: str
    value: str
    origin: str = ""


@dataclass
class Plan:
    """What a run would do.

    Attributes:
        title: task, method, model.
        sections: heading → figures.
        checks: what was checked, in order.
    """

    title: str
    sections: dict[str, list[Line]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.outcome == "failed"]


@dataclass(frozen=True)
class Batches:
    """The arithmetic of batches, over all processes.

    Attributes:
        processes: how many take part.
        responses: per rollout batch.
        prompts: per rollout batch.
        responses_per_step: that one optimizer step trains on.
        steps_per_rollout: optimizer steps per rollout batch, repetitions included; below 1 where a step spans several.
        steps: optimizer steps of the run; None where it depends on a data set that could not be read.
        per_process: responses of a rollout batch on one process.
    """

    processes: int
    responses: int
    prompts: int
    responses_per_step: int
    steps_per_rollout: float
    steps: int | None
    per_process: int


def batches(run: RunArguments, config: Any, problems: int | None) -> Batches:
    """The batches of a run.

    Args:
        run, config: its options; `--num_processes` counts, else the processes launched.
        problems: rows of the training set, or None where they are not known.
    """
    processes = run.num_processes or config.world_size
    per_process = config.per_device_train_batch_size * config.steps_per_generation
    responses = per_process * processes
    prompts = responses // config.num_generations
    parts, accumulation = config.steps_per_generation * config.num_iterations, config.gradient_accumulation_steps
    steps: int | None = config.max_steps if config.max_steps > 0 else None
    if steps is None and problems is not None:
        # an epoch's last step may have fewer micro-batches than the others
        steps = math.ceil(config.num_train_epochs * math.ceil(problems // max(1, prompts) * parts / accumulation))
    return Batches(
        processes,
        responses,
        prompts,
        config.per_device_train_batch_size * config.gradient_accumulation_steps * processes,
        parts / accumulation,
        steps,
        per_process,
    )


def plan(run: RunArguments, config: Any, missing: list[str]) -> Plan:
    """The plan of a run.

    Args:
        run, config: its options.
        missing: packages it needs that are not installed, a line each.
    """
    results = check_everything(run, config, missing)
    shape, problems = results.shape, results.problems
    made = batches(run, config, problems)
    result = Plan(f"task {run.task}, method {run.method}, model {model_name(run)}", checks=results.checks)
    result.sections["batches"] = _batch_lines(run, config, made, problems)
    result.sections["tokens and log"] = _log_lines(run, config, made)
    result.sections["memory per device, at most"] = _memory_lines(run, config, made, shape)
    result.sections["files"] = _file_lines(run, config, made, shape)
    return result


def _batch_lines(run: RunArguments, config: Any, made: Batches, problems: int | None) -> list[Line]:
    lines = [
        Line("processes", f"{made.processes:,}"),
        Line(
            "rollout batch",
            f"{made.prompts:,} prompts x {config.num_generations} = {made.responses:,} responses",
            f"{config.per_device_train_batch_size} per device x {config.steps_per_generation} steps_per_generation x "
            f"{made.processes} processes",
        ),
        Line(
            "optimizer step",
            f"{made.responses_per_step:,} responses",
            f"{config.per_device_train_batch_size} per device x {config.gradient_accumulation_steps} accumulated x "
            f"{made.processes} processes",
        ),
        Line("steps per rollout batch", f"{made.steps_per_rollout:,g}"),
    ]
    if made.steps is None:
        return [*lines, Line("optimizer steps", "unknown", "--max_steps is not set and the data set was not read")]
    rollouts = math.ceil(made.steps / made.steps_per_rollout)
    lines.append(Line("optimizer steps", f"{made.steps:,}", f"{rollouts:,} rollout batches"))
    if problems:
        passes = rollouts * made.prompts / problems
        lines.append(Line("passes over the data", f"{passes:.1f}", f"{problems:,} problems"))
    if run.pass_at_k_steps:
        times = made.steps // run.pass_at_k_steps + 1
        lines.append(Line("evaluations", f"{times:,}", f"every {run.pass_at_k_steps} steps and before the first"))
    return lines


def _log_lines(run: RunArguments, config: Any, made: Batches) -> list[Line]:
    longest = config.max_completion_length
    generated = made.responses * longest
    lines = [
        Line("response", f"{longest:,} tokens at most"),
        Line("rollout batch", f"{generated:,} tokens at most", f"{made.responses:,} responses x {longest:,}"),
    ]
    if made.steps is not None:
        total = made.steps * made.responses_per_step * longest
        lines.append(Line("run", f"{total:,} tokens at most"))
    if not run.probe:
        return [*lines, Line("log", "none", "without --probe")]
    base, per_candidate = BYTES_PER_ROW
    row = base + per_candidate * run.probe_k
    step_rows = made.responses_per_step * longest * run.probe_response_fraction
    lines.append(
        Line(
            "log per logged step",
            f"{_bytes(step_rows * row)} at most",
            f"{step_rows:,.0f} token rows x about {row:.0f} bytes (K = {run.probe_k})",
        )
    )
    if made.steps is not None:
        logged = -(-made.steps // run.probe_every)
        lines.append(
            Line(
                "log of the run",
                f"{_bytes(step_rows * row * logged)} at most",
                f"{logged:,} logged steps; --probe_every and --probe_response_fraction thin the rows out",
            )
        )
    return lines


def _memory_lines(run: RunArguments, config: Any, made: Batches, shape: ModelShape | None) -> list[Line]:
    if shape is None:
        return [Line("estimate", "none", "the model's configuration could not be read (see the checks)")]
    parts: list[MemoryPart] = memory_parts(run, config, made.processes, made.per_process, shape)
    lines = [Line(part.name, _bytes(part.replicated), part.origin) for part in parts]
    whole = sum(part.replicated for part in parts)
    split = sum(part.sharded for part in parts)
    lines.append(Line("sum, each device with the whole model (DDP)", _bytes(whole)))
    if made.processes > 1:
        lines.append(Line(f"sum, sharded over {made.processes} devices (FSDP2, ZeRO-3)", _bytes(split)))
    return lines


def _file_lines(run: RunArguments, config: Any, made: Batches, shape: ModelShape | None) -> list[Line]:
    folder = Path(str(config.output_dir))
    lines = [Line("run folder", str(folder))]
    if run.probe:
        lines.append(Line("log", "run.json, manifest/, tokens/, responses/, rollups/, evals/, costs/"))
    if config.save_strategy != "no" and made.steps is not None and config.save_steps >= 1:
        count = int(made.steps // config.save_steps) or 1
        kept = min(count, config.save_total_limit or count)
        size = "" if shape is None else f" of about {_bytes(shape.trained(run) * _OPTIMIZER_BYTES)}"
        lines.append(Line("checkpoints", f"{kept} kept{size}", f"every {config.save_steps:g} steps"))
    lines.append(Line("model", f"{folder / 'model'}"))
    return lines


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError
