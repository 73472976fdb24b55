"""How many micro-batches a run has gone through: rollout batches come every so many of these, not of steps."""

from __future__ import annotations

from typing import Any


def micro_batches_done(step: int, *, accumulation: int, per_epoch: int | None) -> int:
    """Micro-batches of the optimizer steps that are done.

    An epoch whose micro-batches are no multiple of `accumulation` ends with a step of fewer.

    Args:
        step: optimizer steps done.
        accumulation: micro-batches per optimizer step.
        per_epoch: micro-batches per epoch; None where the data have no end.
    """
    if not per_epoch:
        return step * accumulation
    epochs, steps = divmod(step, -(-per_epoch // accumulation))
    return epochs * per_epoch + steps * accumulation


def micro_batches_of(state: Any, args: Any, batches: Any) -> int:
    """The same of a trainer: its state, its arguments and its data loader, None before training."""
    per_epoch = len(batches) if hasattr(batches, "__len__") else None
    return micro_batches_done(state.global_step, accumulation=args.gradient_accumulation_steps, per_epoch=per_epoch)


def steps_per_rollout(args: Any) -> int:
    """Whole optimizer steps that train on one rollout batch, its repetitions included; at least 1."""
    return max(1, int(args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps))
