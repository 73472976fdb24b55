"""Labels that a trainer takes out of the batch before the forward, so that the probe cannot see which tokens count.

The `Trainer` of Hugging Face does so for label smoothing and for a loss function of the caller's own. Without labels
the probe would log prompts as if the loss scored them.
"""

from __future__ import annotations

import sys
from types import FrameType


def withheld_by() -> str | None:
    """The setting of a Hugging Face `Trainer` among the callers that took the labels away, or None."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "compute_loss":
            names = frame.f_locals
            trainer = names.get("self")
            if names.get("labels") is not None:
                if getattr(trainer, "compute_loss_func", None) is not None:
                    return "compute_loss_func"
                if getattr(trainer, "label_smoother", None) is not None:
                    return "label_smoothing_factor"
        frame = frame.f_back
    return None
