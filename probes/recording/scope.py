"""What a trainer says about the forwards it makes: whose rows they are, which tokens count, what the loss does there.

Used on the training thread. Forwards made inside a scope are held until it ends, so that the loss, which comes after
them, can still say how it treats each token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

PACKED = (
    "rows of this forward hold several documents each, to which a mask or a credit of whole rows cannot be assigned: "
    "leave both out, and let labels of -100 say which tokens do not count"
)
"""What is said of a scope that gives either, or the sampler's log-probabilities, for packed rows."""


class LogitGradient(NamedTuple):
    """What the loss does at the tokens of a scope, tensors (N, T) with columns as the scope's mask.

    Attributes:
        weight: w: the loss moves the logits along w(ẽ - p). For a policy gradient it is A·γ, 0 where clipped.
        ratio: γ.
        smoothing: part of ẽ that lies on the top candidates; None is none.
        entropy_weight: h, where the loss also moves the logits along h·∂H/∂x.
        smoothing_k: candidates that share the smoothing.
        smoothing_weighting: `uniform` (equally) or `softmax` (by their probability).
    """

    weight: torch.Tensor
    ratio: torch.Tensor
    smoothing: torch.Tensor | None = None
    entropy_weight: torch.Tensor | None = None
    smoothing_k: int = 0
    smoothing_weighting: str = "uniform"

    def rows(self, rows: slice, width: int) -> LogitGradient:
        """Some of the rows, for a forward of `width` positions.

        Raises:
            ValueError: the tensors have another width.
        """
        if self.weight.size(1) != width:
            raise ValueError(f"the credit has {self.weight.size(1)} positions, the forward {width}")
        return self._replace(
            weight=self.weight[rows],
            ratio=self.ratio[rows],
            smoothing=None if self.smoothing is None else self.smoothing[rows],
            entropy_weight=None if self.entropy_weight is None else self.entropy_weight[rows],
        )


class _Held(NamedTuple):
    make: Callable[[LogitGradient | None], Any]
    rows: slice | None
    width: int


@dataclass
class Scope:
    """What `Probe.batch` said about the coming forwards; `offset` counts the rows already used."""

    step: int | None = None
    response_ids: Any = None
    verdicts: Any = None
    mask: torch.Tensor | None = None
    about: dict[str, Sequence[Any]] = field(default_factory=dict)
    offset: int = 0
    sampler_logprob: torch.Tensor | None = None
    """(N, T) what the sampler reported for the tokens when it drew them, columns as the mask's; NaN where nothing. Set
    it before the forwards."""
    _credit: LogitGradient | Callable[[], LogitGradient] | None = None
    _held: list[_Held] = field(default_factory=list)

    def credit(self, credit: LogitGradient | Callable[[], LogitGradient]) -> None:
        """Say what the loss does at the tokens of this scope, before its optimizer step.

        A function is called when the scope ends, where its errors switch off the probe and not the training.
        """
        self._credit = credit

    def take(self, count: int) -> tuple[dict[str, Any], torch.Tensor | None, slice]:
        """The next `count` rows: what is said of each, their mask, and which they are."""
        rows = slice(self.offset, self.offset + count)
        self.offset += count
        metadata = {"response_id": self.response_ids, "verdict": self.verdicts, **self.about}
        taken = {name: values[rows] for name, values in metadata.items() if values is not None}
        mask = None if self.mask is None else self.mask[rows]
        for name, values in (*taken.items(), ("mask", mask)):
            if values is not None and len(values) != count:
                raise ValueError(f"probe.batch: {name} has no entry for some of the {count} rows of the forward")
        return taken, mask, rows

    def sampled(self, rows: slice | None, width: int) -> torch.Tensor | None:
        """What the sampler reported for the rows of a forward of `width` positions, or None.

        Raises:
            ValueError: it has another shape, or the rows are documents packed together (None).
        """
        if self.sampler_logprob is None:
            return None
        if rows is None:
            raise ValueError(PACKED)
        reported = self.sampler_logprob[rows]
        if reported.shape != (rows.stop - rows.start, width):
            shape = (rows.stop - rows.start, width)
            raise ValueError(f"the sampler's log-probabilities have shape {tuple(reported.shape)}, the forward {shape}")
        return reported

    def hold(self, make: Callable[[LogitGradient | None], Any], rows: slice | None, width: int) -> None:
        """Keep a forward until the scope ends; `make` is then called with the credit of its rows (None: packed)."""
        self._held.append(_Held(make, rows, width))

    def release(self) -> Iterator[Any]:
        """What was held, made, in order."""
        held, self._held = self._held, []
        if held and callable(self._credit):
            self._credit = self._credit()
        for make, rows, width in held:
            credit = self._credit if isinstance(self._credit, LogitGradient) else None
            if credit is not None and rows is None:
                raise ValueError(PACKED)
            yield make(credit if credit is None or rows is None else credit.rows(rows, width))
