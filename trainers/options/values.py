"""Which values an option can have, and how a wrong one is refused: NaN, out of range, of another type.

Values come as text from a command line or as YAML scalars from a recipe. No torch, no TRL: a mistake is found before
anything heavy is imported.
"""

from __future__ import annotations

import math
import types
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin

from ...store.errors import UsageError, nearest

MOST = 2**31 - 1
"""The largest count that makes sense: steps are stored as 32-bit integers."""


@dataclass(frozen=True)
class Limits:
    """The range of a number; infinity and NaN are in none.

    Attributes:
        minimum, maximum: bounds that are themselves allowed.
        above, below: bounds that are not.
        also: values allowed besides, such as TRL's -1 for "not set".
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    also: tuple[float, ...] = ()

    def allow(self, value: float) -> bool:
        """Whether the value lies in the range."""
        if value in self.also:
            return True
        return (
            math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {"at least": self.minimum, "above": self.above, "at most": self.maximum, "below": self.below}
        parts = [f"{words} {bound:.10g}" for words, bound in bounds.items() if bound is not None]
        return " and ".join(parts) or "a finite number"

    def requirement(self, value: float) -> str:
        """What the value must be, without the largest count that can be stored where that is not the point."""
        if self.maximum == MOST and not value > MOST:
            return str(replace(self, maximum=None))
        return str(self)


_COUNT = Limits(minimum=1, maximum=MOST)
_WHOLE = Limits(minimum=0, maximum=MOST)
_RATE = Limits(minimum=0.0)
_SHARE = Limits(minimum=0.0, maximum=1.0)

TRL_LIMITS = {
    "learning_rate": Limits(above=0.0),
    "max_steps": Limits(minimum=1, maximum=MOST, also=(-1,)),
    "num_train_epochs": Limits(above=0.0),
    "num_generations": Limits(minimum=2, maximum=MOST),
    "num_iterations": _COUNT,
    "per_device_train_batch_size": _COUNT,
    "gradient_accumulation_steps": _COUNT,
    "generation_batch_size": _COUNT,
    "steps_per_generation": _COUNT,
    "max_completion_length": _COUNT,
    "seed": Limits(minimum=0, maximum=2**32 - 1),
    "data_seed": Limits(minimum=0, maximum=2**32 - 1),
    "temperature": Limits(above=0.0),
    "top_p": Limits(above=0.0, maximum=1.0),
    "top_k": Limits(minimum=0, maximum=MOST),
    "min_p": _SHARE,
    "repetition_penalty": Limits(above=0.0),
    "beta": _RATE,
    "epsilon": Limits(above=0.0),
    "epsilon_high": Limits(above=0.0),
    "delta": Limits(above=0.0),
    "entropy_coef": Limits(),
    "weight_decay": _RATE,
    "warmup_steps": _RATE,
    "warmup_ratio": _SHARE,
    "max_grad_norm": _RATE,
    "adam_beta1": Limits(minimum=0.0, below=1.0),
    "adam_beta2": Limits(minimum=0.0, below=1.0),
    "adam_epsilon": Limits(above=0.0),
    "logging_steps": Limits(above=0.0),
    "save_steps": Limits(above=0.0),
    "save_total_limit": _COUNT,
    "top_entropy_quantile": _SHARE,
    "dataloader_num_workers": _WHOLE,
}
"""Ranges of TRL's and transformers' options; their other numbers have to be finite."""


def hint(name: object, known: Collection[str], otherwise: str | None = None) -> str:
    """The end of a message about an unknown name: the nearest known one, else `otherwise`, else all of them."""
    near = nearest(str(name), known)
    if near is None:
        return f"; {otherwise or 'choose from ' + ', '.join(known)}"
    return f"; did you mean {near}?"


def check_value(option: str, value: Any, kind: Any, limits: Limits | None, where: str = "") -> None:
    """Refuse a value that an option cannot have.

    Args:
        option: its name.
        value: text of a command line, or what YAML read.
        kind: the option's type: int, float, bool, str, a Literal, or a union with None; anything else is not checked.
        limits: the range of a number; None: any finite one.
        where: the file it comes from, for the message.

    Raises:
        UsageError: saying what it must be.
    """
    kinds = members(kind)
    name = f"--{option}" + (f" in {where}" if where else "")
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null") and type(None) in kinds):
        return
    choices = [choice for member in kinds if get_origin(member) is Literal for choice in get_args(member)]
    if choices:
        if value not in choices:
            raise UsageError(f"{name}: there is no {value}{hint(value, [str(choice) for choice in choices])}")
        return
    numbers = {member for member in kinds if member in (int, float)}
    if not numbers or (str in kinds or dict in kinds or list in kinds):
        if bool in kinds and len(kinds - {type(None)}) == 1 and str(value).lower() not in _BOOLEANS:
            raise UsageError(f"{name} must be true or false, not {value!r}")
        return
    number = _number(value, whole=float not in numbers)
    if number is None:
        raise UsageError(f"{name} must be a {'number' if float in numbers else 'whole number'}, not {value!r}")
    limits = limits or Limits()
    if not limits.allow(number):
        raise UsageError(f"{name} must be {limits.requirement(number)}, not {value}")


_BOOLEANS = ("true", "false", "yes", "no", "1", "0", "t", "f", "y", "n")


def members(kind: Any) -> set[Any]:
    """The types a value may have: those of a union, else the one; `dict` for `dict[str, Any]`."""
    if get_origin(kind) in (Union, types.UnionType):
        return {member for part in get_args(kind) for member in members(part)}
    return {get_origin(kind) if get_origin(kind) in (dict, list) else kind}


def _number(value: Any, *, whole: bool) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return int(str(value)) if whole else float(str(value))
    except (ValueError, OverflowError):
        return None
