"""Public name of `trainers/models/base_policy/`."""

from ..models.base_policy import BASE_POLICIES, COUNTDOWN_BASE

__all__ = ["BASE_POLICIES", "COUNTDOWN_BASE"]
