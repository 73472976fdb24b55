"""One rank of a two-process run: `python -m torch.distributed.run --nproc_per_node 2 two_processes.py KIND FOLDER`.

KIND is `stock` (GRPOTrainer) or `ours` (the same with our engine and a probe). Rank 0 writes the logged history.
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
from simko.trainers.engine.trainer import RankedGRPOTrainer
from trl import GRPOTrainer

kind, folder = sys.argv[1], Path(sys.argv[2])
trainer_class = RankedGRPOTrainer if kind == "ours" else GRPOTrainer
arguments = tiny.config(folder / "out", per_device_train_batch_size=8)
trainer = trainer_class(tiny.llama(), tiny.even_share, arguments, tiny.prompts(), processing_class=tiny.tokenizer())
rank, world_size = trainer.accelerator.process_index, trainer.accelerator.num_processes
assert world_size == 2
if kind == "ours":
    if rank == 0:
        create_or_resume(folder / "run", {"run": "run", "method": "grpo"}, resume=False)
    trainer.accelerator.wait_for_everyone()
    recorder = Recorder(folder / "run", k=3, attempt=1, start_step=0, rank=rank, world_size=world_size)
    with Probe.attach(trainer.model, folder / "run", k=3, recorder=recorder) as probe:
        trainer.attach(probe)
        trainer.train()
else:
    trainer.train()
if rank == 0:
    (folder / f"{kind}.json").write_text(json.dumps(tiny.history(trainer)))
trainer.accelerator.end_training()
