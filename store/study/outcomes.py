"""Public name of `store/analysis/outcomes.py`."""

from ..analysis.outcomes import Outcomes

__all__ = ["Outcomes"]
