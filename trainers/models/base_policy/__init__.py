"""The built-in base policies: transformers checkpoints that ship with the package, one for each built-in task."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent

BASE_POLICIES = {f"{task}-base": _HERE / task for task in ("countdown", "countdown4", "tree")}
"""Name → folder of the checkpoint: config, weights, tokenizer. `base_policy/build.py` made them and can remake them."""
COUNTDOWN_BASE = BASE_POLICIES["countdown-base"]
