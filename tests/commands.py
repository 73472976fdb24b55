"""The project's commands, run as a user would run them."""

from __future__ import annotations

import forked

SHORT = ["--max_steps", "8", "--pass_at_k_steps", "4", "--save_steps", "4", "--per_device_train_batch_size", "32"]


def command(module, *arguments, cwd, **settings):
    """The finished process of a command of the project, in a folder."""
    return forked.run(f"simko.cli.{module}", *arguments, cwd=cwd, **settings)
