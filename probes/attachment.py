"""Getting at a model's distributions before training: whose forward to watch, through which head, into which folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..store.writing.row_sampling import LoggedRows
from .head.models import causal_lm, unwrap
from .head.ranked_head import RankedHead, add_ranked_head, has_ranked_head
from .head.trl_head import trl_fused_head
from .recording.capture import check_visible
from .recording.run_folder import OpenedRun, open_run


class Attachment(NamedTuple):
    """The module to watch, our hold on its head (None: it shows ready logits), the temperature, the opened run."""

    model: torch.nn.Module
    head: RankedHead | None
    temperature: float
    opened: OpenedRun


def attach_to(
    model: torch.nn.Module,
    run_dir: Path,
    *,
    k: int,
    temperature: float | None,
    tau: float,
    tokenizer: Any,
    info: Mapping[str, Any],
    recorder: Any,
    resume: bool,
    change_meaning: bool,
    start_step: int,
    rows: LoggedRows,
    verify: bool,
) -> Attachment:
    """Prepare a model for `Probe`; arguments and errors are those of `Probe.attach`.

    Where the run folder cannot be used, the model is left as it was.
    """
    if not 0 <= tau <= 1:
        raise ValueError(f"tau is a quantile level in [0, 1], not {tau}")
    outer, base = unwrap(model), causal_lm(model)
    head: RankedHead | None = None
    if trl_fused_head(base) is not None or has_ranked_head(base):
        head = add_ranked_head(base, k=k, temperature=temperature, verify=verify)
        temperature = head.temperature
    else:
        check_visible(outer, k, run=verify)
    temperature = 1.0 if temperature is None else float(temperature)
    try:
        opened = open_run(
            run_dir,
            base,
            k=k,
            temperature=temperature,
            tau=tau,
            tokenizer=tokenizer,
            info=info,
            recorder=recorder,
            resume=resume,
            change_meaning=change_meaning,
            start_step=start_step,
            rows=rows,
        )
    except BaseException:
        if head is not None:
            head.remove()
        raise
    return Attachment(outer, head, temperature, opened)
