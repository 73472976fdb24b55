"""How much a test tries: a share of it in `make test`, all of it in `make stress`."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("SIMKO_THOROUGH"))
"""Set by `make stress`."""


def effort(full: int, share: int = 4) -> int:
    """`full` cases in `make stress`, that many divided by `share` (at least three) in `make test`."""
    return full if THOROUGH else max(3, full // share)
