"""One of several processes of a run: `one_of_two.py CHECKPOINT OUT`, with RANK and WORLD_SIZE as Ray sets them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch


def main(checkpoint: str, out: str) -> None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = f"file://{out}/store-{size}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    import verl_engines as v
    from verl.utils import tensordict_utils as tu

    worker = v.worker(checkpoint, steps=1)
    rows = [0, 1, 2, 3] if size == 1 else [[0, 3], [1, 2]][rank]
    metrics = tu.get(worker.train_mini_batch(v.rollout_batch(rows, mini_batch=4)), "metrics")
    values = {
        name: sum(parts) if isinstance(parts := getattr(metric, "values", metric), list) else parts
        for name, metric in metrics.items()
        if name.startswith(("lambda_", "forking_", "grad_norm", "loss"))
    }
    weights = {name: p.full_tensor() for name, p in worker.engine.module.named_parameters()}
    if rank == 0:
        torch.save(weights, f"{out}/weights-{size}.pt")
        Path(f"{out}/metrics-{size}.json").write_text(json.dumps({n: float(x) for n, x in values.items()}))
    assert worker.engine.run_log.log.errors == 0
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
