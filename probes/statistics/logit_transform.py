"""What lies between a head's raw output and the logits of its distribution."""

from __future__ import annotations

from typing import NamedTuple

import torch


class LogitTransform(NamedTuple):
    """What lies between a head's raw output z and the logits: x = softcap·tanh(scale·z / softcap) / temperature."""

    scale: float = 1.0
    softcap: float | None = None
    temperature: float = 1.0

    @property
    def identity(self) -> bool:
        """Whether x = z."""
        return self.scale == 1.0 and self.softcap is None and self.temperature == 1.0

    def apply(self, z: torch.Tensor, dtype: torch.dtype, out: torch.Tensor | None = None) -> torch.Tensor:
        """The transformed logits in `dtype`, in `out` where given; else `z` itself when there is nothing to do."""
        if out is None and self.identity:
            return z.to(dtype)
        x = z.to(dtype, copy=True) if out is None else out.copy_(z)
        if self.identity:
            return x
        x.mul_(self.scale if self.softcap is None else self.scale / self.softcap)
        if self.softcap is not None:
            x.tanh_().mul_(self.softcap)
        return x.div_(self.temperature)

    def chain(self, grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """In place on `grad`: from the gradient by x to the gradient by z."""
        if self.softcap is not None:
            grad.mul_(1 - (x * (self.temperature / self.softcap)).square())
        return grad if self.identity else grad.mul_(self.scale / self.temperature)
