"""Public name of `store/analysis/tables.py`."""

from ..analysis.tables import Findings, findings

__all__ = ["Findings", "findings"]
