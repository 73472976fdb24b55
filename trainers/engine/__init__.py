"""The adapter to TRL: its `GRPOTrainer`, trained through the ranked head by an objective.

from simko.trainers.engine import RankedGRPOTrainer
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trainer import RankedGRPOTrainer

__all__ = ["RankedGRPOTrainer"]


def __getattr__(name: str) -> Any:
    """Load the trainer when it is first asked for: the other modules of this folder do without TRL."""
    if name != "RankedGRPOTrainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .trainer import RankedGRPOTrainer

    return RankedGRPOTrainer
