"""What can be checked of a run without starting it: packages, folder, device, model, tokenizer, data, grader.

A check is `ok`, `failed`, or `not checked` where this machine cannot know (an unreachable hub): a plan made on a laptop
for a cluster must not fail because the laptop is offline.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...store.errors import SimkoError
from ...store.layout.run import check_free
from ..checks import check_evaluation, check_ranks, model_name, other_number_of_processes
from ..errors import DatasetNotFound, ModelNotFound
from ..hub import hub_fault, is_hub_id
from ..models.base_policy import BASE_POLICIES
from ..models.lora import lora_config
from ..options.arguments import RunArguments
from ..options.methods import check_group, check_loss, objective_of
from ..tasks import task_for
from .shape import ModelShape, shape_of

Outcome = Literal["ok", "failed", "not checked"]
GRADED = 16
"""Gold answers that the grader is tried on."""
MEASURED = 2000
"""Prompts whose tokens are counted."""


@dataclass(frozen=True)
class Check:
    """One check: what, how it ended, and what was found."""

    name: str
    outcome: Outcome
    detail: str


@dataclass
class Findings:
    """What the checks found.

    Attributes:
        checks: in order.
        shape: of the model, or None.
        problems: rows of the training set, or None.
    """

    checks: list[Check] = field(default_factory=list)
    shape: ModelShape | None = None
    problems: int | None = None

    def add(self, name: str, check: Callable[[], str | None]) -> None:
        """Run a check; None is nothing to tell."""
        try:
            detail = check()
        except _Unknown as unknown:
            self.checks.append(Check(name, "not checked", str(unknown)))
        except (SimkoError, ValueError, OSError) as error:
            self.checks.append(Check(name, "failed", str(error)))
        else:
            if detail is not None:
                self.checks.append(Check(name, "ok", detail))


class _Unknown(Exception):
    """This machine cannot know."""


def check_everything(run: RunArguments, config: Any, missing: list[str]) -> Findings:
    """Run every check.

    Args:
        run, config: the options.
        missing: packages the run needs that are not installed, a line each.
    """
    found = Findings()
    elsewhere = other_number_of_processes(run, config.world_size) is not None  # the plan is for another machine
    for line in missing:
        found.checks.append(Check("packages", "not checked" if elsewhere else "failed", line))
    found.add("method", lambda: _method(run, config))
    found.add("processes", lambda: _processes(run, config))
    found.add("run folder", lambda: _folder(run, config))
    found.add("device", lambda: _device())
    found.add("model", lambda: _model(run, found))
    tokenizer: list[Any] = []
    found.add("tokenizer", lambda: _tokenizer(run, tokenizer))
    task: list[Any] = []
    found.add("data", lambda: _data(run, tokenizer, task, found))
    if task:
        found.add("prompts", lambda: _prompts(task[0], tokenizer, config))
        found.add("grader", lambda: _grader(task[0]))
        found.add("evaluation", lambda: _evaluation(run, task[0]))
        task[0].close()
    return found


def _method(run: RunArguments, config: Any) -> str:
    objective_of(run)
    check_group(run, int(config.num_generations or 0))
    check_loss(run, config.loss_type)
    adapters = lora_config(run.lora_r, run.lora_alpha, run.lora_target_modules)
    return f"{run.method}" + ("" if adapters is None else f", adapters of rank {run.lora_r}")


def _processes(run: RunArguments, config: Any) -> str:
    other = other_number_of_processes(run, config.world_size)
    return f"{config.world_size}" if other is None else f"here {config.world_size}: start it with {run.num_processes}"


def _folder(run: RunArguments, config: Any) -> str:
    folder = Path(str(config.output_dir))
    if run.resume is None:
        check_free(folder)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OSError(f"{existing} cannot be written to; check its permissions or choose another --output_dir")
    room = os.statvfs(existing)
    return f"{folder}: free, {room.f_bavail * room.f_frsize / 1e9:,.0f} GB of room on its disk"


def _device() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none here: the CPU would be used"
    sizes = [torch.cuda.get_device_properties(i).total_memory / 1e9 for i in range(torch.cuda.device_count())]
    return f"{len(sizes)} x {torch.cuda.get_device_name(0)}, {min(sizes):.0f} GB each"


def _where(run: RunArguments) -> tuple[str, dict[str, Any]]:
    """What transformers loads the configuration and the tokenizer from."""
    name = str(model_name(run))
    place = str(BASE_POLICIES.get(name, name))
    path = Path(place).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelNotFound(f"no file {path}; give an existing .gguf file, a checkpoint folder or a hub id")
        return str(path.parent), {"gguf_file": path.name}
    if path.exists():
        return str(path), {}
    if not is_hub_id(place):
        raise ModelNotFound(f"no model at {place}; give an existing checkpoint folder, a .gguf file or a hub id")
    from huggingface_hub import try_to_load_from_cache

    if (fault := hub_fault()) and not isinstance(try_to_load_from_cache(place, "config.json"), str):
        raise _Unknown(f"{place} as a hub id: {fault}")
    return place, {}


def _model(run: RunArguments, found: Findings) -> str:
    from transformers import AutoConfig

    where, options = _where(run)
    found.shape = shape = shape_of(AutoConfig.from_pretrained(where, **options))
    check_ranks(run, objective_of(run), shape.vocabulary)
    return f"{shape.parameters:,} parameters, {shape.layers} layers, vocabulary {shape.vocabulary:,}"


def _tokenizer(run: RunArguments, found: list[Any]) -> str:
    from transformers import AutoTokenizer

    where, options = _where(run)
    tokenizer = AutoTokenizer.from_pretrained(where, padding_side="left", **options)
    found.append(tokenizer)
    return "chat template" if tokenizer.chat_template else "no chat template: prompts are plain text"


def _data(run: RunArguments, tokenizer: list[Any], found: list[Any], findings: Findings) -> str:
    try:
        task = task_for(
            run.task or "countdown",
            dataset=run.dataset,
            eval_dataset=run.eval_dataset,
            tokenizer=tokenizer[0] if tokenizer else None,
            prompt_style=run.prompt_style,
            options=run.task_options,
        )
    except DatasetNotFound as error:
        if hub_fault() is not None and "hub id" in str(error):
            raise _Unknown(str(error)) from error
        raise
    found.append(task)
    findings.problems = len(task.train)
    held = "no held-out problems" if task.heldout is None else f"{len(task.heldout):,} held-out problems"
    return f"{len(task.train):,} training problems, {held}"


def _prompts(task: Any, tokenizer: list[Any], config: Any) -> str:
    if not tokenizer:
        raise _Unknown("their tokens cannot be counted without the tokenizer")
    from ..evaluation.sampling import encode_prompts

    lengths = [len(ids) for ids in encode_prompts(tokenizer[0], list(task.train["prompt"][:MEASURED]))]
    limit = getattr(tokenizer[0], "model_max_length", 0)
    longest = max(lengths) + config.max_completion_length
    if limit < longest:
        raise ValueError(
            f"the longest prompt and --max_completion_length take {longest:,} tokens, the tokenizer's limit is "
            f"{limit:,}: shorten --max_completion_length"
        )
    return f"{min(lengths)} to {max(lengths):,} tokens (the first {len(lengths):,})"


def _grader(task: Any) -> str | None:
    if task.enumerates_answers:
        return None
    golds = list(task.train["answer"][:GRADED])
    verdicts = task.judge([f"\\boxed{{{gold}}}" for gold in golds], golds)
    return f"starts, and calls {verdicts.count('right')} of {len(golds)} gold answers right"


def _evaluation(run: RunArguments, task: Any) -> str:
    check_evaluation(run, task)
    if not run.pass_at_k_steps:
        return "none during training; `simko eval` measures checkpoints"
    samples = run.pass_at_k_samples or 0
    return f"{run.pass_at_k_split}, " + (f"{samples} samples per problem" if samples else "exact")
