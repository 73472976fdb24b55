"""Reading the settings of the fused LM head that TRL's trainers put on a model, so that ours can replace it."""

from __future__ import annotations

import functools
from typing import Any

import torch


def trl_fused_head(model: torch.nn.Module) -> dict[str, Any] | None:
    """The settings of TRL's fused head on this model's forward, or None when there is none.

    They live in the closure of the forward that `trl.trainer.add_fused_lm_head` installs; a forward wrapped again by
    accelerate is followed inwards.
    """
    seen: set[int] = set()
    queue: list[Any] = [model.__dict__.get("forward")]
    while queue:
        function = queue.pop()
        function = getattr(function, "__func__", function)
        if id(function) in seen or not callable(function):
            continue
        seen.add(id(function))
        if isinstance(function, functools.partial):
            queue.append(function.func)
        code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
        if code is not None and cells:
            names = dict(zip(code.co_freevars, (_contents(cell) for cell in cells), strict=True))
            if code.co_name == "_fused_forward" and "final_logit_softcapping" in names:
                return {"cast_lm_head_to_fp32": False, "outputs": (), **names}
            queue.extend(
                value for value in names.values() if callable(value) and not isinstance(value, torch.nn.Module)
            )
        queue.append(getattr(function, "model_forward", None))  # accelerate's ConvertOutputsToFp32
    return None


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
