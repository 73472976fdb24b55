"""The advantage estimator `simko`: GRPO's, then what the method makes of it for the responses of a group.

verl calls it on the driver, where whole groups are (`algorithm.adv_estimator=simko`). Its returns are the rewards
themselves, by which the engine knows that advantages are its own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

from ...store.errors import UsageError
from .settings import Settings


def group_advantages(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: Any, config: Any = None, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The advantages of a rollout batch.

    Args:
        token_level_rewards: (B, T), whose sum is a response's reward; NaN where it could not be judged.
        response_mask: (B, T).
        index: (B,) the prompt's id of each response; responses with one id are a group, of any size.
        config: `algorithm` of verl's configuration.

    Returns:
        (B, T) advantages and (B, T) returns, both 0 outside the mask.

    Raises:
        UsageError: the rewards hold a KL penalty, so that 1 is no longer right.
    """
    settings = Settings.from_environment()
    objective = settings.objective()
    normalised = True if config is None else bool(config.get("norm_adv_by_std_in_grpo", True))
    if config is not None and config.get("use_kl_in_reward", False) and objective is not None:
        raise UsageError(
            "algorithm.use_kl_in_reward=True mixes a KL penalty into the rewards, which then no longer say what is "
            "right: give algorithm.use_kl_in_reward=False, or actor_rollout_ref.actor.use_kl_loss=True instead"
        )
    rewards = token_level_rewards.sum(-1)
    judged = ~rewards.isnan()
    # GRPO among the judged: an unjudged response has no advantage and moves no mean
    credit = torch.zeros_like(rewards)
    own, _ = compute_grpo_outcome_advantage(
        token_level_rewards=rewards[judged].unsqueeze(1).clone(),
        response_mask=torch.ones_like(rewards[judged]).unsqueeze(1),
        index=[name for name, use in zip(index, judged.tolist(), strict=True) if use],
        norm_adv_by_std_in_grpo=normalised,
    )
    credit[judged] = own.squeeze(1)
    if objective is not None:
        groups: dict[Any, list[int]] = defaultdict(list)
        for row, name in enumerate(index):
            groups[name].append(row)
        for members in groups.values():
            credit[members] = objective.group_advantages(rewards[members].unsqueeze(0), credit[members].unsqueeze(0))[0]
    mask = response_mask.to(credit.dtype)
    return credit.unsqueeze(1) * mask, rewards.nan_to_num(0.0).unsqueeze(1) * mask
