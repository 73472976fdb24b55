"""`simko-train` that is killed by SIGKILL when it begins to score a step: `killed_training.py STEP RANK ARGUMENTS…`.

RANK is the one process that dies, of those a launcher has started.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from simko.cli.train import main
from simko.trainers.engine.trainer import RankedGRPOTrainer

step, rank, *arguments = sys.argv[1:]
score = RankedGRPOTrainer._compute_loss


def score_or_die(self: Any, model: Any, inputs: Any) -> Any:
    if self.state.global_step + 1 == int(step) and os.environ.get("RANK", "0") == rank:
        self.probe.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return score(self, model, inputs)


RankedGRPOTrainer._compute_loss = score_or_die
sys.exit(main(arguments))
