"""The built-in base policy of the countdown task: a transformers checkpoint that ships with the package."""

from __future__ import annotations

from pathlib import Path

COUNTDOWN_BASE = Path(__file__).parent / "countdown"
"""Folder of the checkpoint: config, weights, tokenizer. `base_policy/build.py` made it and can remake it."""
