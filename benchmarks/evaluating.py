"""What `simko eval` costs beside the draws: judging, counting and writing, and the client of a server.

    python benchmarks/evaluating.py [--samples 64] [--problems 40]

The built-in policy on `countdown`, 64 samples per problem, in one process. A server stands in a thread of the same
process, so its model's time is measured there and taken out. Shares are of the time of one whole evaluation; with a
larger model the draws take longer and the shares fall.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from openai_server import OpenAIServer
from simko.store.writing.evaluation_writer import EvaluationWriter
from simko.trainers.evaluation import measuring
from simko.trainers.evaluation.benchmarks import Asked, load_benchmark
from simko.trainers.evaluation.engines.server import ServerEngine
from simko.trainers.evaluation.engines.transformers import TransformersEngine
from simko.trainers.evaluation.policies import Policy
from simko.trainers.evaluation.units import units
from simko.trainers.evaluation.work import plan
from simko.trainers.models.loading import load_model


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what is done inside under a name."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def evaluate(engine: Any, model_time: Callable[[], float], samples: int, problems: int, folder: Path) -> Clock:
    """One evaluation, its parts one after the other."""
    benchmark = load_benchmark("countdown", Asked(samples=samples, limit=problems), engine.tokenizer)
    policy = Policy("policy", None, "w" * 16, folder, 0)
    item = plan(policy, benchmark, engine=engine.name, exact=False, per_unit=512, anew=False)
    clock = Clock()
    before = model_time()
    with EvaluationWriter(folder, item.evaluation, item.header) as writer:
        for unit in units(item.header):
            with clock("draw"):
                responses = measuring.drawn(engine, benchmark, unit)
            with clock("judge and count"):
                evals, rows = measuring.judged_rows(benchmark, unit, responses)
            with clock("write"):
                writer.publish(unit.number, evals=evals, samples=rows)
    model = model_time() - before
    clock.seconds["model"] = model or clock.seconds["draw"]
    clock.seconds["client"] = clock.seconds.pop("draw") - clock.seconds["model"]
    return clock


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--problems", type=int, default=40)
    options = parser.parse_args()
    model, tokenizer = load_model()
    served = [0.0]
    with tempfile.TemporaryDirectory() as folder, OpenAIServer(model, tokenizer) as server:
        complete, gate = server.complete, threading.Lock()

        def timed(body: dict[str, Any]) -> dict[str, Any]:
            with gate:  # the model answers one request at a time: what it waits is not its own
                began = time.perf_counter()
                answer = complete(body)
                served[0] += time.perf_counter() - began
            return answer

        server.complete = timed  # type: ignore[method-assign]
        local = TransformersEngine(model, tokenizer)
        remote = ServerEngine([server.url], tokenizer=tokenizer)
        for name, engine, model_time in (("transformers", local, lambda: 0.0), ("server", remote, lambda: served[0])):
            clock = evaluate(engine, model_time, options.samples, options.problems, Path(folder) / name)
            total = sum(clock.seconds.values())
            shares = "  ".join(f"{part} {seconds / total:.1%}" for part, seconds in clock.seconds.items())
            print(f"{name}: {total:.1f} s for {options.samples * options.problems} responses: {shares}", flush=True)
        remote.close()


if __name__ == "__main__":
    main()
