"""The work of `simko eval`: every policy × benchmark planned before anything is drawn, then unit by unit.

While one unit is judged and written, the next is drawn. Whatever ends the process, a unit is in the store whole or not
at all, and what is missing is done by the same call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...store.errors import EvaluationChanged
from ...store.layout.evaluation_file import EvaluationFile, is_evaluation, read_evaluation_file
from ...store.layout.run import MANIFEST_FOLDER, create_or_resume
from ...store.writing.evaluation_writer import EvaluationWriter
from .benchmarks import Benchmark
from .engines.base import Engine
from .measuring import drawn, exact_rows, judged_rows
from .policies import Policy
from .progress import EvaluationProgress
from .units import Unit, identity, split, units


@dataclass(frozen=True)
class Evaluation:
    """One policy on one benchmark.

    Attributes:
        evaluation: its identity.
        header: the first line of its manifest, as it is on disk where it has been begun.
        missing: units to do.
    """

    policy: Policy
    benchmark: Benchmark
    evaluation: str
    header: dict[str, Any]
    missing: list[Unit]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.policy.name} {self.benchmark.name}"

    @property
    def responses(self) -> int:
        """All it draws."""
        return len(self.benchmark.prompts) * self.benchmark.settings.samples


def plan(policy: Policy, benchmark: Benchmark, *, engine: str, exact: bool, per_unit: int, anew: bool) -> Evaluation:
    """What is to do for a policy on a benchmark.

    Args:
        policy, benchmark: which.
        engine: the name of the engine that draws.
        exact: whether it can tell exact successes.
        per_unit: responses of a unit, where the evaluation is begun now.
        anew: begin one although another of this policy and benchmark, with other settings, is not complete.

    Raises:
        EvaluationChanged: there is such a one, and `anew` is False.
    """
    settings = benchmark.described
    mine = identity(policy.weights, benchmark.name, settings)
    n = len(benchmark.prompts)
    with_exact = exact and bool(benchmark.task.enumerates_answers)
    header = {
        "benchmark": benchmark.name,
        "step": policy.step,
        "checkpoint": policy.name,
        "weights": policy.weights,
        "engine": engine,
        "settings": settings,
        "problems": n,
        "digest": benchmark.digest,
        **split(n, benchmark.settings.samples, exact=with_exact, responses=per_unit),
    }
    done: set[int] = set()
    for file in evaluations_of(policy):
        if file.evaluation == mine:
            header |= {name: file.header[name] for name in ("units", "problems_per_unit", "samples_per_unit")}
            done = file.done
        elif not (file.complete or anew) and _alike(file, policy, benchmark):
            raise EvaluationChanged(
                f"{policy.name} on {benchmark.name}: evaluation {file.evaluation} has {len(file.done)} of {file.units} "
                f"blocks and other settings ({_differing(file.settings, settings)}); give those to go on with it, or "
                "--anew to begin another"
            )
    missing = [unit for unit in units(header) if unit.number not in done]
    return Evaluation(policy, benchmark, mine, header, missing)


def evaluations_of(policy: Policy) -> list[EvaluationFile]:
    """The evaluations that the policy's run holds."""
    folder = policy.run_dir / MANIFEST_FOLDER
    paths = sorted(path for path in folder.glob("*.jsonl") if is_evaluation(path.name))
    files = (read_evaluation_file(policy.run_dir, path) for path in paths)
    return [file for file in files if isinstance(file, EvaluationFile)]


def _alike(file: EvaluationFile, policy: Policy, benchmark: Benchmark) -> bool:
    return file.header.get("weights") == policy.weights and file.benchmark == benchmark.name


def _differing(before: Any, now: Any) -> str:
    names = [name for name in now if before.get(name) != now[name]]
    return ", ".join(f"--{name} {before.get(name)}, not {now[name]}" for name in names)


def do(evaluations: Sequence[Evaluation], engine_for: Callable[[Policy], Engine], progress: EvaluationProgress) -> None:
    """Do what is missing, policy by policy; an engine is made for a policy where there is something to draw.

    Raises:
        KeyboardInterrupt: after what was drawn has been judged and written.
        SimkoError: an engine, a grader or the disk fails; what was done is kept.
    """
    for policy in dict.fromkeys(item.policy.name for item in evaluations):
        mine = [item for item in evaluations if item.policy.name == policy and item.missing]
        if not mine:
            continue
        with _closing(engine_for(mine[0].policy)) as engine:
            for item in mine:
                progress.at(item.name)
                _do_one(item, engine, progress)
                progress.say(f"done: {item.name}")


@contextmanager
def _closing(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.close()


def _do_one(item: Evaluation, engine: Engine, progress: EvaluationProgress) -> None:
    run_dir = item.policy.run_dir
    if item.policy.begins is not None:
        create_or_resume(run_dir, item.policy.begins, resume=True)
    with (
        EvaluationWriter(run_dir, item.evaluation, item.header) as writer,
        ThreadPoolExecutor(1, thread_name_prefix="simko-judge") as judge,
    ):
        waiting: Future[int] | None = None
        for unit in units({**writer.header}):
            if unit.number in writer.done:
                continue
            if not unit.samples:
                writer.publish(unit.number, evals=exact_rows(engine, item.benchmark))
                continue
            responses = drawn(engine, item.benchmark, unit)
            if waiting is not None:
                progress.advance(waiting.result())
            waiting = judge.submit(_publish, writer, item.benchmark, unit, responses)
        if waiting is not None:
            progress.advance(waiting.result())


def _publish(writer: EvaluationWriter, benchmark: Benchmark, unit: Unit, responses: Any) -> int:
    """Judge and write a unit; returns how many responses it has."""
    evals, samples = judged_rows(benchmark, unit, responses)
    writer.publish(unit.number, evals=evals, samples=samples)
    return unit.responses
