"""What the probe costs a training step of the built-in task, as ratios to stock GRPOTrainer in the same run.

    python benchmarks/probe_cost.py [--rounds 5] [--steps 40]

Every round trains each variant once, interleaved, from the same weights and seed; the figure is process CPU time a
step (the recorder's thread included), the ratio is taken round by round, the median printed with its range. Also
printed: bytes a token row on disk, and rows a second of writing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from simko.probes.probe import Probe
from simko.trainers.callbacks import PassAtK
from simko.trainers.engine import RankedGRPOTrainer
from simko.trainers.evaluation import evaluate
from simko.trainers.loading import load_model
from simko.trainers.objectives import SimKO
from simko.trainers.parsing import parse
from simko.trainers.rewards import TaskReward
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


def train_once(variant: str, steps: int, folder: Path, costs: list[Any]) -> float:
    """CPU seconds a step of one short run."""
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
        trainer.add_callback(PassAtK(lambda _: evaluate(trainer.model, tokenizer, task) and None, 40))
    began = time.process_time()
    trainer.train()
    if probe is not None:
        probe.close()
        costs.append(probe.recorder)
    return (time.process_time() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    recorders: list[Any] = []
    for round_ in range(options.rounds + 1):
        for variant in VARIANTS:
            with tempfile.TemporaryDirectory() as folder:
                took = train_once(variant, options.steps, Path(folder), recorders)
            if round_:  # the first round warms up
                seconds[variant].append(took)
    table = Table(title=f"CPU time a step, {options.rounds} rounds of {options.steps} steps", title_justify="left")
    for heading in ("", "ms a step", f"ratio to {BASELINE}", "range"):
        table.add_column(heading, justify="left" if not heading else "right")
    for variant in VARIANTS:
        ratios = [a / b for a, b in zip(seconds[variant], seconds[BASELINE], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        table.add_row(
            variant, f"{1e3 * statistics.median(seconds[variant]):.1f}", f"{statistics.median(ratios):.2f}", spread
        )
    Console().print(table)
    cost = recorders[-1].cost
    print(f"recorder, one run: {cost.rows} rows, {cost.files} files, {cost.bytes} bytes, {cost.dropped} dropped,")
    print(f"{cost.write_ms:.0f} ms writing, {cost.queue_wait_ms:.1f} ms waiting for the queue")


if __name__ == "__main__":
    main()
