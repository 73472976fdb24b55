"""Dynamic sampling: groups that are all right or all wrong teach nothing, so their places are given to other prompts.

A group is dropped where its rewards do not differ (DAPO, arXiv 2503.14476). Further rounds draw other prompts at random
from the training set until every place of the batch holds a group that teaches, or the rounds are used up; what is
still missing then stays as it was. All processes make the same number of rounds, because generation is collective.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...store.errors import UsageError

Row = dict[str, Any]


@dataclass
class Rollouts:
    """One process's part of a rollout batch.

    Attributes:
        inputs: N rows of the data set, the responses to one prompt side by side.
        output: what TRL makes of them: tensors of N rows, and scalars.
        rewards: (N,) summed rewards, NaN where unjudged.
    """

    inputs: list[Row]
    output: dict[str, Any]
    rewards: torch.Tensor


def check_groups(n: int, group: int) -> None:
    """See that groups are not split over processes.

    Raises:
        UsageError: naming the options to change.
    """
    if n % group:
        raise UsageError(
            f"dynamic sampling needs whole groups on each process: per_device_train_batch_size x steps_per_generation "
            f"= {n} is no multiple of --num_generations {group}; change one of them, or --dynamic_sampling_rounds 1"
        )


def fill(
    first: Rollouts,
    generate: Callable[[list[Row]], Rollouts],
    dataset: Sequence[Row],
    *,
    group: int,
    rounds: int,
    seed: int,
    any_process: Callable[[bool], bool],
) -> Rollouts:
    """Replace groups without contrast.

    Args:
        first: the batch as sampled.
        generate: samples and scores as many rows again.
        dataset: training problems to draw further prompts from.
        group: responses a prompt.
        rounds: rounds of generation at most, the first one included.
        seed: of the draw; differs between processes and batches.
        any_process: whether a condition holds on any process.

    Returns:
        A batch of the same size.
    """
    taught = _groups_with_contrast(first.rewards, group)
    batch, chance = first, random.Random(seed)
    for _ in range(rounds - 1):
        if not any_process(not taught.all().item()):
            break
        rows = [dataset[i] for i in chance.sample(range(len(dataset)), min(len(taught), len(dataset)))]
        rows = [rows[i % len(rows)] for i in range(len(taught))]
        drawn = generate([row for row in rows for _ in range(group)])
        fresh = _groups_with_contrast(drawn.rewards, group).nonzero().flatten().tolist()
        empty = (~taught).nonzero().flatten().tolist()
        places = dict(zip(empty, fresh, strict=False))
        if places:
            batch = _replace(batch, drawn, places, group)
            taught[list(places)] = True
    return batch


def _groups_with_contrast(rewards: torch.Tensor, group: int) -> torch.Tensor:
    """(P,) bool: whether judged rewards of the group differ."""
    by_group = rewards.view(-1, group)
    low = by_group.nan_to_num(torch.inf).min(1).values
    high = by_group.nan_to_num(-torch.inf).max(1).values
    return high > low


def _replace(batch: Rollouts, drawn: Rollouts, places: dict[int, int], group: int) -> Rollouts:
    """The batch with its groups `places.keys()` replaced by the groups `places.values()` of another."""
    n = len(batch.inputs)
    source = torch.arange(n)
    for place, fresh in places.items():
        source[place * group : (place + 1) * group] = n + fresh * group + torch.arange(group)
    inputs = [(batch.inputs + drawn.inputs)[i] for i in source.tolist()]
    output = dict(batch.output)
    for name, values in batch.output.items():
        if isinstance(values, torch.Tensor) and values.dim() and values.size(0) == n:
            both = _same_width([values, drawn.output[name]], left=name.startswith("prompt"))
            output[name] = torch.cat(both)[source.to(values.device)]
    rewards = torch.cat([batch.rewards, drawn.rewards])[source.to(batch.rewards.device)]
    return Rollouts(inputs, output, rewards)


def _same_width(tensors: list[torch.Tensor], *, left: bool) -> list[torch.Tensor]:
    """Pad with zeros, which the masks hide: prompts on the left, what belongs to completions on the right."""
    if tensors[0].dim() < 2:
        return tensors
    width = max(tensor.size(1) for tensor in tensors)
    padded = []
    for tensor in tensors:
        more = width - tensor.size(1)
        padded.append(torch.nn.functional.pad(tensor, (more, 0) if left else (0, more)))
    return padded
