"""Copies of device tensors on the host, made without stopping the training stream."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch


class HostCopy:
    """A copy under way: started on the training thread, waited for on the recorder's.

    On CUDA the tensors go to pinned memory behind an event; elsewhere they are copied at once, since a trainer may
    overwrite its own.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        self._tensors: dict[str, torch.Tensor] = {}
        for name, tensor in tensors.items():
            if tensor.is_cuda:
                host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                self._tensors[name] = host.copy_(tensor.detach(), non_blocking=True)
                self._event = self._event or torch.cuda.Event()
            else:
                self._tensors[name] = tensor.detach().to("cpu", copy=True)
        if self._event is not None:
            self._event.record()

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Wait for the copy and return it as NumPy arrays."""
        if self._event is not None:
            self._event.synchronize()
        return {name: tensor.numpy() for name, tensor in self._tensors.items()}
