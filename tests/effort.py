"""How much a test tries: a share of it in `make test`, all of it in `make stress`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")

THOROUGH = bool(os.environ.get("SIMKO_THOROUGH"))
"""Set by `make stress`."""


def effort(full: int, share: int = 4) -> int:
    """`full` cases in `make stress`, that many divided by `share` (at least three) in `make test`."""
    return full if THOROUGH else max(3, full // share)


def some(cases: Sequence[Case], every: int) -> Sequence[Case]:
    """All cases in `make stress`, the first and then each `every`-th in `make test`."""
    return cases if THOROUGH else cases[::every]
