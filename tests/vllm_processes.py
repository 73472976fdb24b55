"""What the tests of vLLM start, and whether it is gone: known by its environment, whatever group or session it has."""

from __future__ import annotations

import os
from typing import Any

ARGUMENTS = ("--dtype", "float32", "--enforce-eager")
"""Of a server on a CPU that is compared with transformers."""
MARK = "SIMKO_STARTED_BY_TEST"
"""The environment variable that names the test."""


def started(mark: str) -> list[Any]:
    """The processes that a test has started and that run, however deep."""
    import psutil

    result = []
    for process in psutil.process_iter():
        try:
            mine = process.pid != os.getpid() and process.environ().get(MARK) == mark
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                result.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return result
