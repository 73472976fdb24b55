"""The order of the training problems follows from the seed and the number of the epoch alone.

TRL's sampler draws each epoch's order from a generator that it never seeds again, so that a run continued in its second
epoch would go through the first one's order once more: other prompts than the run that was not interrupted. Here each
epoch begins with the generator where the epochs before have left it, which is TRL's own order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from transformers import TrainerCallback
from trl.trainer.utils import RepeatSampler


class EpochOrder(RepeatSampler):
    """TRL's sampler, which gives the order of the epoch `epoch` (0, 1, …) whatever it has given before."""

    epoch = 0

    @classmethod
    def like(cls, sampler: Any) -> Any:
        """The same as a sampler of TRL; samplers of other kinds are left as they are."""
        if type(sampler) is not RepeatSampler or sampler.seed is None:
            return sampler
        names = ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
        return cls(**{name: getattr(sampler, name) for name in names})

    def __iter__(self) -> Iterator[int]:
        """Indices of problems, each as often as it is answered."""
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(self.epoch):
                torch.randperm(self.num_samples, generator=self.generator)
        return super().__iter__()


class FollowEpochs(TrainerCallback):
    """Tells the sampler of a trainer which epoch begins."""

    def __init__(self, sampler: EpochOrder) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """`state.epoch` counts the epochs done; a resumed run goes on with the one that it holds a part of."""
        self.sampler.epoch = int(state.epoch or 0)
