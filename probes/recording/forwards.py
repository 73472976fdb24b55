"""From a forward that was seen to a batch for the recorder: statistics now, rows later on the recorder's thread."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from ...store.writing.batch import Shift
from ..errors import ProbeCannotSee
from ..statistics.token_stats import TokenStats
from .capture import capture
from .device_time import DeviceTime
from .documents import documents_of, split
from .handover import deferred_batch, deferred_shift
from .scope import PACKED, Scope
from .withheld_labels import withheld_by

UNSEEN = (
    "an optimizer step went by and the probe has seen no forward in training mode with gradients enabled: "
    "call model.train(), and attach the probe to the model whose forward gives the loss"
)
"""What is warned of where steps are made and nothing was scored."""


class ScoredForward(NamedTuple):
    """The statistics of one forward and what is known about its rows.

    Attributes:
        stats: (B, T) statistics, masked to what counts.
        inputs: the arguments of the forward.
        metadata: `response_id`, and perhaps `verdict` and columns of `responses`.
        rows: which entries of the scope were taken.
        packed: whether the entries are documents, of which rows of the forward held several.
        own_mask: whether what counts was read off the forward.
        named: whether the responses got their ids here.
    """

    stats: TokenStats
    inputs: Mapping[str, Any]
    metadata: dict[str, Any]
    rows: slice
    packed: bool
    own_mask: bool
    named: bool


class Forwards:
    """Takes the statistics of forwards and hands them on as batches that are made on the recorder's thread.

    Args:
        k: ranked candidates to log.
        temperature: what logits are divided by first.
        tau: quantile of the forking rule.
        tokenizer: gives prompts and completions of the responses that are named here.
        worker: rank and number of processes, so that names differ between them.

    Attributes:
        device: the time that all this takes on the model's device.
    """

    def __init__(self, *, k: int, temperature: float, tau: float, tokenizer: Any, worker: tuple[int, int]) -> None:
        self.device = DeviceTime()
        self._k, self._temperature, self._tau = k, temperature, tau
        # Its own, since fast tokenizers must not be used by two threads.
        self._tokenizer = copy.deepcopy(tokenizer)
        self._rank, self._world_size = worker
        self._named = 0

    def capture(self, output: Any, inputs: Mapping[str, Any], scope: Scope) -> ScoredForward:
        """The statistics of a forward's output, for as many entries of the scope as it has responses: rows, or the
        documents packed into them."""
        unlabelled = inputs["labels"] is None and scope.mask is None and getattr(output, "stats", None) is None
        if unlabelled and (setting := withheld_by()):
            raise ProbeCannotSee(
                f"the trainer's {setting} takes the labels out of the batch before the forward, so which tokens count "
                f"is unknown: leave {setting} out, or say it with probe.batch(mask=…)"
            )
        stats = self.device.timed(capture, output, inputs, self._k, self._temperature)
        documents = documents_of(inputs)
        if documents is not None:
            if scope.mask is not None:
                raise ValueError(PACKED)
            stats, inputs = split(stats, inputs, documents)
        count = stats.mask.size(0)
        metadata, mask, rows = scope.take(count)
        if mask is not None:
            stats = stats.last(mask.size(1))
            stats = stats._replace(mask=stats.mask & mask.to(stats.mask.device).bool())
        named = "response_id" not in metadata
        if named:
            first = self._named
            self._named += count
            metadata["response_id"] = [i * self._world_size + self._rank for i in range(first, first + count)]
        return ScoredForward(stats, inputs, metadata, rows, documents is not None, mask is None, named)

    def hold(self, scored: ScoredForward, scope: Scope, step: int) -> None:
        """Leave with the scope what will become a batch of the step."""
        rows, width = None if scored.packed else scored.rows, scored.stats.mask.size(1)
        make = functools.partial(
            self.device.timed,
            deferred_batch,
            scored.stats,
            scored.metadata,
            scored.inputs,
            step=step,
            tau=self._tau,
            own_mask=scored.own_mask,
            tokenizer=self._tokenizer,
            names_responses=scored.named,
            sampler_logprob=scope.sampled(rows, width),
        )
        scope.hold(make, rows, width)

    def shift(
        self, before: TokenStats, after: TokenStats, verdicts: torch.Tensor, mask: torch.Tensor
    ) -> Callable[[], Shift]:
        """How the distributions of the same tokens have changed, to be worked out on the recorder's thread."""
        width = mask.size(1)
        before, after = before.detach().last(width), after.detach().last(width)
        shift: Callable[[], Shift] = self.device.timed(deferred_shift, before, after, verdicts, mask, tau=self._tau)
        return shift
