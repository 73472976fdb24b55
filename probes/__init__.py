"""Seeing next-token distributions while a model trains: the ranked LM head and the probe.

from simko.probes import Probe

with Probe.attach(model, "runs/mine") as probe:
    ...  # train
"""

# ruff: noqa: E402 (the check has to come before what fails without torch)

from typing import TYPE_CHECKING, Any

from ..store.extras import require

require("torch", extra="probe", command="simko.probes")

from .errors import HeadMismatch, ProbeCannotSee, TooManyCandidates
from .forking import forking_mask
from .head.ranked_head import RankedHead, add_ranked_head
from .probe import NullProbe, Probe
from .recording.scope import LogitGradient, Scope
from .statistics.ranked_statistics import ranked_statistics
from .statistics.token_stats import RowStats, TokenStats
from .statistics_log import StatisticsLog

if TYPE_CHECKING:
    from .head.output import RankedOutput

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
    "StatisticsLog",
    "TokenStats",
    "TooManyCandidates",
    "add_ranked_head",
    "forking_mask",
    "ranked_statistics",
]


def __getattr__(name: str) -> Any:
    """The name that needs transformers, loaded when it is asked for, and one that has changed and still works."""
    if name == "RankedOutput":
        from .head.output import RankedOutput

        return RankedOutput
    if name == "TokenCredit":
        return LogitGradient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
