"""Which implementation of the ranked statistics runs: plain PyTorch, `torch.compile`, or Triton kernels.

`SIMKO_KERNEL=auto|eager|compile|triton` chooses for the process, `backend=` for a call. `auto` takes Triton on CUDA
where it is installed, plain PyTorch elsewhere; float64 logits always go through plain PyTorch. All three keep one
contract (`ranked_statistics`), tie rule included, and are tested against the same definitions in float64.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from importlib import import_module
from types import ModuleType
from typing import Literal, get_args

import torch

from ..errors import BackendMissing

Backend = Literal["auto", "eager", "compile", "triton"]
_MODULES = {"eager": "eager", "compile": "compiled", "triton": "triton_kernels"}


def implementation(logits: torch.Tensor, backend: Backend | None = None) -> ModuleType:
    """The module whose `forward` and `backward` compute the statistics of these logits.

    Raises:
        BackendMissing: the choice is none of `Backend`, or cannot run on this device.
    """
    choice = backend or os.environ.get("SIMKO_KERNEL") or "auto"
    device = logits.device.type
    if choice == "auto":
        choice = "triton" if device == "cuda" and _has_triton() else "eager"
    elif choice not in get_args(Backend):
        raise BackendMissing(f"there is no kernel {choice!r}; SIMKO_KERNEL is one of {', '.join(get_args(Backend))}")
    elif choice == "triton":
        _check_triton(device)
    elif choice == "compile" and device == "cpu":
        _check_compiler()
    if logits.dtype == torch.float64:
        choice = "eager"
    return import_module(f".{_MODULES[choice]}", __package__)


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _check_triton(device: str) -> None:
    if not _has_triton():
        raise BackendMissing("SIMKO_KERNEL=triton needs Triton: pip install 'simko[kernels]', or choose eager")
    if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise BackendMissing(
            f"Triton kernels run on CUDA, these logits are on {device}: choose SIMKO_KERNEL=eager or compile "
            "(TRITON_INTERPRET=1 runs them on the CPU, for tests, slowly)"
        )


def _check_compiler() -> None:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise BackendMissing("SIMKO_KERNEL=compile needs a C++ compiler on the CPU (g++, or $CXX); or choose eager")
