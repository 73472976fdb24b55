"""Low-rank adapters by option: `--lora_r 32` trains them instead of the model's own weights.

    simko-train --task gsm8k --model ORG/MODEL --lora_r 32 --learning_rate 1e-5

Checkpoints then hold the adapters alone (`adapter_config.json`); `--model` takes such a folder too.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from ...store.errors import UsageError
from ..errors import PackageMissing


def lora_config(r: int | None, alpha: int | None, target_modules: str) -> Any:
    """PEFT's `LoraConfig`, or None where the whole model is trained.

    Args:
        r: rank of the adapters; None: no adapters.
        alpha: their scale; None: twice the rank.
        target_modules: names of modules with commas between them, or `all-linear`.

    Raises:
        UsageError: a scale without a rank, or no module is named.
        PackageMissing: peft is not installed.
    """
    if r is None:
        if alpha is not None:
            raise UsageError("--lora_alpha needs --lora_r, the rank of the adapters")
        return None
    names = [name.strip() for name in target_modules.split(",") if name.strip()]
    if not names:
        raise UsageError("--lora_target_modules names no module; leave it out for all-linear")
    if importlib.util.find_spec("peft") is None:
        raise PackageMissing("--lora_r needs the package peft: pip install 'simko[lora]'")
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=r,
        lora_alpha=alpha or 2 * r,
        target_modules=names[0] if names == ["all-linear"] else names,
    )
