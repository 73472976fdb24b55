"""Seeing next-token distributions while a model trains: the ranked LM head and the probe.

from simko.probes import Probe

with Probe.attach(model, "runs/mine") as probe:
    ...  # train
"""

from .errors import HeadMismatch, ProbeCannotSee, TooManyCandidates
from .forking import forking_mask
from .head.ranked_head import RankedHead, RankedOutput, add_ranked_head
from .probe import NullProbe, Probe
from .recording.scope import LogitGradient, Scope
from .statistics.ranked_statistics import ranked_statistics
from .statistics.token_stats import RowStats, TokenStats

__all__ = [
    "HeadMismatch",
    "LogitGradient",
    "NullProbe",
    "Probe",
    "ProbeCannotSee",
    "RankedHead",
    "RankedOutput",
    "RowStats",
    "Scope",
    "TokenStats",
    "TooManyCandidates",
    "add_ranked_head",
    "forking_mask",
    "ranked_statistics",
]


def __getattr__(name: str) -> type:
    """Names that have changed and still work."""
    if name == "TokenCredit":
        return LogitGradient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
