"""What the probe costs a training step of the built-in task, as ratios to stock GRPOTrainer in the same run.

    python benchmarks/probe_cost.py [--rounds 5] [--steps 40]

Every round trains each variant once, interleaved, from the same weights and seed; time is process CPU time, the
recorder's thread included.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import Pages, interleaved, ratio
from simko.probes.probe import Probe
from simko.trainers.engine.callbacks import PassAtKCallback
from simko.trainers.engine.rewards import TaskReward
from simko.trainers.engine.trainer import RankedGRPOTrainer
from simko.trainers.evaluation.pass_at_k import evaluate
from simko.trainers.models.loading import load_model
from simko.trainers.objectives import SimKO
from simko.trainers.options.parsing import parse
from simko.trainers.tasks import task_for
from transformers import PrinterCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOTrainer

BASELINE = "stock GRPOTrainer"
VARIANTS = (
    BASELINE,
    "grpo",
    "grpo --probe",
    "simko",
    "simko --probe",
    "simko --probe --probe_rescore 4",
    "simko --probe --pass_at_k_steps 40",
)


def train_once(variant: str, steps: int, folder: Path, recorders: list[Any]) -> None:
    """One short run, from the same weights and seed each time."""
    _, config = parse(["--max_steps", str(steps), "--save_strategy", "no", "--output_dir", str(folder), "--seed", "1"])
    config.disable_tqdm, config.logging_steps = True, steps
    disable_progress_bar()
    model, tokenizer = load_model(None)
    task = task_for("countdown", tokenizer=tokenizer)
    objective = {"objective": SimKO(0.1, 3, 0.5, 1.1)} if variant.startswith("simko") else {}
    kind = GRPOTrainer if variant == BASELINE else RankedGRPOTrainer
    trainer = kind(model, TaskReward(task), config, task.train, processing_class=tokenizer, **objective)
    trainer.remove_callback(PrinterCallback)
    probe = Probe.attach(trainer.model, folder / "run", k=5, tau=0.5) if "--probe" in variant else None
    if probe is not None:
        trainer.attach(probe, rescore=4 if "rescore" in variant else 0)
    if "pass_at_k" in variant:  # before the first step and after the last as well: twice in 40 steps
        trainer.add_callback(PassAtKCallback(lambda _: evaluate(trainer.model, tokenizer, task) and None, 40))
    trainer.train()
    if probe is not None:
        probe.close()
        recorders.append(probe.recorder)


def report(pages: Pages, rounds: int, steps: int) -> None:
    recorders: list[Any] = []

    def run(variant: str) -> Callable[[], None]:
        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                train_once(variant, steps, Path(folder), recorders)

        return work

    seconds = interleaved({variant: run(variant) for variant in VARIANTS}, rounds)
    table = [
        [variant, f"{1e3 * statistics.median(each) / steps:.1f} ms", ratio(each, seconds[BASELINE])]
        for variant, each in seconds.items()
    ]
    cost = recorders[-1].cost
    note = (
        f"{steps} steps, set-up and closing included. The last probed run: {cost.rows} rows in {cost.files} files of "
        f"{cost.bytes} bytes, {cost.dropped} dropped, {cost.write_ms:.0f} ms writing."
    )
    pages.table("A step of the default task (108 thousand parameters)", ["", "per step", f"× {BASELINE}"], table, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report(Pages(), options.rounds, options.steps)


if __name__ == "__main__":
    main()
