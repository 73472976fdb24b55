"""What of verl's configuration our engine cannot work with, refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...store.errors import UsageError
from ..objectives import GroupObjective, Reinforce, ScoredBatch
from .micro_batch import check_estimator


def check_engine(model_config: Any, engine_config: Any) -> None:
    """See that the logits of whole sequences can be seen.

    Raises:
        UsageError: naming the setting of verl and what to give instead.
    """
    if getattr(model_config, "use_fused_kernels", False) or getattr(engine_config, "use_fused_kernels", False):
        raise UsageError(
            "actor_rollout_ref.model.use_fused_kernels=True computes log-probabilities without logits, so there is "
            "nothing to rank: give actor_rollout_ref.model.use_fused_kernels=False"
        )
    if getattr(engine_config, "ulysses_sequence_parallel_size", 1) > 1:
        raise UsageError(
            "ulysses_sequence_parallel_size above 1 cuts responses into pieces on several GPUs, which simko's engine "
            "does not put together: give actor_rollout_ref.actor.ulysses_sequence_parallel_size=1 (and for ref)"
        )


def scalar_temperature(data: Mapping[str, Any]) -> float:
    """The one temperature of a batch.

    Raises:
        UsageError: its responses have different ones.
    """
    value: Any = data["temperature"]
    if isinstance(value, torch.Tensor):
        low, high = float(value.min()), float(value.max())
        if low != high:
            raise UsageError(
                f"responses sampled at temperatures from {low:g} to {high:g} in one batch: a run has one temperature"
            )
        value = low
    return float(getattr(value, "data", value))


def response_credit(
    data: Mapping[str, Any], batch: ScoredBatch, reward: torch.Tensor | None, method: str, objective: Any
) -> None:
    """See that the batch says of each response what the objective needs.

    Raises:
        UsageError: the advantages differ within a response, or come from another estimator than the method's own, or
            nobody says which responses are right.
    """
    if bool(batch.advantages.isnan().any()):
        raise UsageError(
            f"--method {method} needs one advantage per response, and these differ from token to token: give an "
            "outcome estimator (algorithm.adv_estimator=simko, or grpo)"
        )
    if reward is None:
        raise UsageError(
            f"--method {method} has to know which responses are right, and the batch has no rewards "
            "(token_level_scores or rm_scores)"
        )
    if credits_groups(objective):
        check_estimator(data, batch.mask, method)


def credits_groups(objective: Any) -> bool:
    """Whether a method credits the responses of a group otherwise than GRPO does."""
    return isinstance(objective, GroupObjective | Reinforce)
