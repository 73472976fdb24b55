"""Seeing next-token distributions while a model trains: the ranked LM head and the probe.

from simko.probes import Probe

with Probe.attach(model, "runs/mine") as probe:
    ...  # train
"""

from .errors import HeadMismatch, ProbeCannotSee, TooManyCandidates
from .forking import forking_mask
from .probe import NullProbe, Probe
from .ranked_head import RankedHead, RankedOutput, add_ranked_head
from .row_stats import RowStats, TokenStats
from .scope import Scope, TokenCredit
from .statistics import ranked_statistics

__all__ = [
    "HeadMismatch",
    "NullProbe",
    "Probe",
    "ProbeCannotSee",
    "RankedHead",
    "RankedOutput",
    "RowStats",
    "Scope",
    "TokenCredit",
    "TokenStats",
    "TooManyCandidates",
    "add_ranked_head",
    "forking_mask",
    "ranked_statistics",
]
