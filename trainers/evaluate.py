"""Policies to evaluate by what a person types, and their evaluation from plan to store: the door of `simko eval`.

a run               every whole checkpoint-<step> of it, also while it trains
RUN/checkpoint-20   that one
a folder, a .gguf file, a hub id, a built-in policy     results go to a run of their own, of kind `evaluation`
a server            what it serves, by its name
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..store.errors import UsageError
from ..store.layout.run import RUN_FILE, check_name, read_run
from .engine.checkpoints import checkpoint_damage, checkpoints
from .evaluation.benchmarks import Asked, Benchmark, load_benchmark
from .evaluation.engines.base import Engine
from .evaluation.policies import Policy, served_weights, weights_of
from .evaluation.progress import EvaluationProgress
from .evaluation.work import Evaluation, do, plan
from .models.base_policy import BASE_POLICIES
from .models.loading import check_model

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Destination:
    """Where results go.

    Attributes:
        runs: the folder of runs.
        into: the run that takes them; None: the run a checkpoint lies in, else one of its own.
        step: of the policy, where its name does not tell.
    """

    runs: Path
    into: Path | None = None
    step: int | None = None


def policies_of(addresses: Sequence[str], where: Destination, *, base: bool = False) -> tuple[list[Policy], list[str]]:
    """The policies that addresses mean, and a line about each checkpoint that is passed over.

    Args:
        addresses: runs, checkpoints, hub ids.
        where: where results go.
        base: also the model that each run started from, as step 0.

    Raises:
        ModelNotFound, ModelUnreadable: there is no such model, or it cannot be used.
        UsageError: a run has no checkpoint, or two policies have the same place in one run.
    """
    result: list[Policy] = []
    notes: list[str] = []
    for address in addresses:
        run_dir = _run_at(address, where.runs)
        if run_dir is None:
            result.append(_single(address, where))
        else:
            found, passed = _of_run(run_dir, where, base=base)
            result += found
            notes += passed
    return _distinct(result), notes


def served_policy(model: str, address: str | None, where: Destination) -> Policy:
    """The policy that a server serves: the checkpoint at an address, or known by its name alone.

    Raises:
        ModelNotFound, ModelUnreadable: there is no checkpoint at the address.
        UsageError: the address is a run, which has many.
    """
    if address is None:
        return _own(model, None, served_weights(model), where)
    return single_policy(address, where)


def single_policy(address: str, where: Destination) -> Policy:
    """The one policy that an address means.

    Raises:
        ModelNotFound, ModelUnreadable: there is no such model, or it cannot be used.
        UsageError: the address is a run, which has many.
    """
    if _run_at(address, where.runs) is not None:
        raise UsageError(f"{address} is a run; say which of its checkpoints is meant: {address}/checkpoint-N")
    return _single(address, where)


def planned(
    policies: Sequence[Policy],
    names: Sequence[str],
    asked: Asked,
    *,
    engine: str,
    tokenizer_of: Callable[[Policy], Any],
    per_unit: int,
    anew: bool,
) -> list[Evaluation]:
    """Every policy × benchmark, and what of it is missing.

    Raises:
        SimkoError: a benchmark, an option or a tokenizer cannot be used, or an evaluation was begun otherwise.
    """
    loaded: dict[tuple[str, str | None], Benchmark] = {}
    result = []
    for policy in policies:
        tokenizer = tokenizer_of(policy)
        template = getattr(tokenizer, "chat_template", None)
        for name in names:
            key = name, str(template) if template is not None else None
            if key not in loaded:
                loaded[key] = load_benchmark(name, asked, tokenizer)
            exact = engine == "transformers"
            result.append(plan(policy, loaded[key], engine=engine, exact=exact, per_unit=per_unit, anew=anew))
    return result


def evaluate_all(evaluations: Sequence[Evaluation], engine_for: Callable[[Policy], Engine]) -> None:
    """Do what is missing, with progress.

    Raises:
        KeyboardInterrupt: after what was drawn has been judged and written.
        SimkoError: something fails; what was done is kept.
    """
    total = sum(item.responses for item in evaluations)
    missing = sum(unit.responses for item in evaluations for unit in item.missing)
    progress = EvaluationProgress(total, total - missing)
    try:
        do(evaluations, engine_for, progress)
    finally:
        progress.close()
        for task in {id(item.benchmark.task): item.benchmark.task for item in evaluations}.values():
            task.close()


def _run_at(address: str, runs: Path) -> Path | None:
    """The training run at a path, or of a name in the folder of runs; None where there is none."""
    candidates = [Path(address), *([runs / address] if not Path(address).is_absolute() else [])]
    return next((path for path in candidates if (path / RUN_FILE).is_file() and not _holds_evaluations(path)), None)


def _holds_evaluations(folder: Path) -> bool:
    """Whether a folder was made for the evaluations of a policy of no run, after which it is named."""
    return (folder / RUN_FILE).is_file() and read_run(folder).get("kind") == "evaluation"


def _of_run(run_dir: Path, where: Destination, *, base: bool) -> tuple[list[Policy], list[str]]:
    info = read_run(run_dir)
    result: list[Policy] = []
    notes: list[str] = []
    if base:
        model = str(info.get("model"))
        check_model(model)
        policy = Policy(f"{run_dir.name} step 0 ({model})", _loadable(model), weights_of(_loadable(model)), run_dir, 0)
        result.append(policy)
    for folder in checkpoints(run_dir):
        if damage := checkpoint_damage(folder):
            notes.append(f"{folder} is not whole ({damage}) and passed over")
        else:
            result.append(_single(str(folder), where))
    if not result:
        more = f"; {'; '.join(notes)}" if notes else ""
        raise UsageError(
            f"{run_dir} has no checkpoint-<step> to evaluate{more}; train with --save_steps, or give its model/ folder"
        )
    return result, notes


def _single(address: str, where: Destination) -> Policy:
    """A checkpoint by its folder, file, hub id or built-in name."""
    path = Path(address).expanduser()
    if not path.exists() and (where.runs / address).is_dir() and not _holds_evaluations(where.runs / address):
        path = where.runs / address  # RUN/checkpoint-20 by the name of the run
    target = str(path) if path.exists() else address
    check_model(target)
    loadable = _loadable(target)
    weights = weights_of(loadable)
    named = _CHECKPOINT.fullmatch(path.name) if path.exists() else None
    parent = path.resolve().parent
    if where.into is None and (parent / RUN_FILE).is_file() and (named or where.step is not None):
        run_dir = path.parent if str(path.parent) != "." else parent
        step = where.step if where.step is not None else int(named[1]) if named else 0
        return Policy(f"{parent.name}/{path.name}", loadable, weights, run_dir, step)
    policy = _own(address, loadable, weights, where)
    return replace(policy, step=int(named[1])) if named and where.step is None else policy


def _own(name: str, loadable: str | None, weights: str, where: Destination) -> Policy:
    """A policy of no run: its results go to `--into`, or to a run of its own."""
    run_dir = where.into or where.runs / _folder_name(name)
    step = where.step or 0
    if (run_dir / RUN_FILE).is_file():
        kind = read_run(run_dir).get("kind", "training")
        if where.into is None and kind != "evaluation":
            raise UsageError(f"{run_dir} is a training run; say with --into RUN where the results of {name} shall go")
        return Policy(name, loadable, weights, run_dir, step)
    check_name(run_dir.name)
    begins = {"kind": "evaluation", "method": None, "model": name}
    return Policy(name, loadable, weights, run_dir, step, begins)


def _folder_name(name: str) -> str:
    """A run's name made of a model's: `org/model` is `org--model`, a path its last two parts."""
    parts = [part for part in Path(name).parts if part not in ("/", ".", "..", "~")]
    text = "--".join(parts[-2:])
    return re.sub(r"[^\w.+-]+", "-", text).lstrip(".-") or "policy"


def _loadable(model: str) -> str:
    return str(BASE_POLICIES.get(model, model))


def _distinct(policies: list[Policy]) -> list[Policy]:
    """The same policies, each once.

    Raises:
        UsageError: two different ones would have the same place.
    """
    result: dict[tuple[Path, int], Policy] = {}
    for policy in policies:
        there = result.setdefault((policy.run_dir.resolve(), policy.step), policy)
        if there.weights != policy.weights:
            raise UsageError(
                f"{there.name} and {policy.name} would both be step {policy.step} of {policy.run_dir}; evaluate one "
                "after the other with another --step, or leave out --into"
            )
    return list(result.values())
