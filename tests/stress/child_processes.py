"""Starts writers and compactors of a run and kills them: `python child_processes.py RUN`, a command per line.

    write START MS     fork a writer that goes on from step START; kill it after MS → batches it had put
    compact MS         fork a compactor that merges and collects again and again; kill it after MS → 0

Children are forked from a process that has imported everything and used nothing, so a kill costs milliseconds.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas  # noqa: F401  pyarrow imports it at first use, which would outlast most children
import simko.store.writing.recorder
from batches import random_batch
from simko.store.layout.run import next_attempt
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.garbage import collect

QUEUE_DEPTH = 4
RUN = Path(sys.argv[1])


def write(start: int, counter: mmap.mmap) -> None:
    """One batch a step, until killed; `counter` holds how many were put."""
    attempt = next_attempt(RUN)
    rng = np.random.default_rng(attempt)
    batches = [random_batch(0, rng) for _ in range(8)]
    recorder = simko.store.writing.recorder.Recorder(
        RUN, k=4, attempt=attempt, start_step=start, queue_depth=QUEUE_DEPTH
    )
    step = start
    while True:
        step += 1
        batch = batches[step % 8]
        ids = 1000 * step + np.arange(len(batch.response_id))
        recorder.put(batch.__class__(**{**vars(batch), "step": step, "response_id": ids}))
        counter[:8] = struct.pack("q", step - start)
        recorder.end_step(step)


def merge() -> None:
    """Merge and collect, until killed."""
    while True:
        compact(RUN)
        collect(RUN, grace=0)


for line in sys.stdin:
    command, *numbers = line.split()
    counter = mmap.mmap(-1, 8)
    child = os.fork()
    if child == 0:
        try:
            write(int(numbers[0]), counter) if command == "write" else merge()
        finally:
            os._exit(1)
    time.sleep(float(numbers[-1]) / 1000)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    ended = "killed" if os.WIFSIGNALED(status) else f"ended by itself ({os.waitstatus_to_exitcode(status)})"
    print(struct.unpack("q", counter[:8])[0], ended, flush=True)
