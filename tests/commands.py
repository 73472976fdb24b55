"""The project's commands, run as a user would run them."""

from __future__ import annotations

import os
import subprocess
import sys

SHORT = ["--max_steps", "8", "--pass_at_k_steps", "4", "--save_steps", "4", "--per_device_train_batch_size", "32"]


def command(module, *arguments, cwd, **kwargs):
    """Run a command of the project as a user would, in an empty folder."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", f"simko.cli.{module}", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=300,
        **kwargs,
    )
