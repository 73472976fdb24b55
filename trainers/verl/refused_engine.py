"""What stands for our engine on backends of verl that it does not replace: verl would take its own, and log nothing."""

from __future__ import annotations

from typing import Any

from verl.workers.engine import BaseEngine

from ...store.errors import UsageError


class RefusedEngine(BaseEngine):
    """What stands for our engine on backends it does not replace.

    Raises:
        UsageError: always.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        raise UsageError(
            "simko's engine replaces verl's FSDP engine alone: give actor_rollout_ref.actor.strategy=fsdp2 (or fsdp), "
            "and the same for actor_rollout_ref.ref.strategy"
        )

    @property
    def is_param_offload_enabled(self) -> bool:
        """Never asked."""
        return False

    @property
    def is_optimizer_offload_enabled(self) -> bool:
        """Never asked."""
        return False
