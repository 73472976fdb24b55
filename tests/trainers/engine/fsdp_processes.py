"""One rank of two: `python -m torch.distributed.run --nproc_per_node 2 fsdp_processes.py FOLDER sharded|whole`.

Trains SimKO with a probe, sharded by FSDP2 or each rank with the whole model; rank 0 writes history and weights.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import tiny
from fsdp_on_cpu import use_fsdp2
from safetensors.torch import save_file
from simko.probes.probe import Probe
from simko.store.layout.run import create_or_resume
from simko.store.writing.recorder import Recorder
from simko.trainers.engine.ending import leave_together
from simko.trainers.engine.trainer import RankedGRPOTrainer
from simko.trainers.objectives.simko import SimKO

folder, mode = Path(sys.argv[1]), sys.argv[2]
if mode == "sharded":
    use_fsdp2()

arguments = tiny.config(folder / "out", per_device_train_batch_size=8)
objective = SimKO(alpha=0.3, k=3, tau=0.5, penalty=1.5)
trainer = RankedGRPOTrainer(
    tiny.llama(), tiny.first_is_even, arguments, tiny.prompts(), processing_class=tiny.tokenizer(), objective=objective
)
rank = trainer.accelerator.process_index
run = folder / mode
if rank == 0:
    create_or_resume(run, {"run": run.name}, resume=False)
trainer.accelerator.wait_for_everyone()
recorder = Recorder(run, k=3, attempt=1, start_step=0, rank=rank, world_size=2)
with Probe.attach(trainer.model, run, k=3, recorder=recorder) as probe:
    trainer.attach(probe)
    trainer.train()
kinds = {type(parameter).__name__ for parameter in trainer.model.parameters()}
assert (kinds == {"DTensor"}) == (mode == "sharded"), kinds
weights = trainer.accelerator.get_state_dict(trainer.model)
if rank == 0:
    (folder / f"{mode}.json").write_text(json.dumps(tiny.history(trainer)))
    save_file({name: value.contiguous().clone() for name, value in weights.items()}, folder / f"{mode}.safetensors")
leave_together()
os._exit(0)  # DTensor's caches hold the mesh's process group, and with it gloo's threads, to the interpreter's end
