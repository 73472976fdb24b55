"""Studies small enough for tests, and jobs for worker processes to do."""

from __future__ import annotations

import os
import signal

from simko.trainers.study.specification import read

SHORT = "{max_steps: 4, pass_at_k_steps: 4, per_device_train_batch_size: 32}"
HEAD = f"study: tiny\ndescription: a try\ntask: countdown\nseeds: [1, 2]\noptions: {SHORT}\n"
GRID = """\
runs:
  - method: grpo
  - method: simko
    label: SimKO
    options: {simko_alpha: 0.3}
    select: {simko_alpha: [0.05, 0.2], simko_tau: [0.5]}
  - method: simko
    label: SimKO warm-up
    inherit: SimKO
    options: {simko_warmup_steps: 2}
    seeds: [1]
select:
  seeds: [101, 102]
  maximise: pass@1+pass@256
  method: grpo
  options: {learning_rate: [1.5e-4, 3e-4]}
  shared_maximise: pass@1
frontier:
  method: grpo
  learning_rate_scale: [0.5, 2]
"""


def study(text, head=HEAD):
    """A study from YAML."""
    return read("mine.yaml", head + text)


def succeed(arguments):
    """Says its arguments, and by which process."""
    print("first", os.environ.get("OMP_NUM_THREADS"))
    os.write(2, f"{' '.join(arguments)}\n\n".encode())
    return 0


def refuse(arguments):
    """Ends as a command does that was given nonsense."""
    print("refused: nonsense")
    return 2


def crash(arguments):
    """Raises."""
    raise RuntimeError("something broke")


def vanish(arguments):
    """Is killed as by a machine without memory."""
    print("step 3/4  busy", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
