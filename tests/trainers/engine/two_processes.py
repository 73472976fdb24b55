"""One rank of two: `python -m torch.distributed.run --nproc_per_node 2 two_processes.py FOLDER`, or started as by it.

Trains with stock GRPOTrainer, then the same with our engine and a probe; rank 0 writes both logged histories.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import tiny
from simko.probes.probe import Probe
from simko.store.layout.run import create_or_resume
from simko.store.writing.recorder import Recorder
from simko.trainers.engine.ending import leave_together
from simko.trainers.engine.trainer import RankedGRPOTrainer
from simko.trainers.objectives import psr
from trl import GRPOTrainer

folder = Path(sys.argv[1])


def a_trainer(trainer_class, reward=tiny.even_share, **given):
    arguments = tiny.config(folder / "out", per_device_train_batch_size=8)
    trainer = trainer_class(tiny.llama(), reward, arguments, tiny.prompts(), processing_class=tiny.tokenizer(), **given)
    assert trainer.accelerator.num_processes == 2
    return trainer


def train_with_probe(trainer, run):
    rank = trainer.accelerator.process_index
    if rank == 0:
        create_or_resume(run, {"run": run.name}, resume=False)
    trainer.accelerator.wait_for_everyone()
    recorder = Recorder(run, k=3, attempt=1, start_step=0, rank=rank, world_size=2)
    with Probe.attach(trainer.model, run, k=3, recorder=recorder) as probe:
        trainer.attach(probe)
        trainer.train()


def train_both():
    stock = a_trainer(GRPOTrainer)
    stock.train()

    ours = a_trainer(RankedGRPOTrainer)
    train_with_probe(ours, folder / "run")
    train_with_probe(a_trainer(RankedGRPOTrainer, tiny.first_is_even, objective=psr()), folder / "psr")
    if ours.accelerator.process_index == 0:
        for name, trainer in {"stock": stock, "ours": ours}.items():
            (folder / f"{name}.json").write_text(json.dumps(tiny.history(trainer)))


train_both()
leave_together()
threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
assert not [name for name in threads if "gloo" in name], f"threads that may abort the process as it ends: {threads}"
