"""One sentence about a base model and a tuned one, that may say that there is no difference beyond noise.

Concentrated: on the same tokens Λ(1) has risen and Λ(2) fallen, each with an interval that leaves out 0, on the
responses of both models. The opposite is called flatter. A change of Λ(k) below `SMALLEST` counts as none, however
narrow its interval: another order of additions moves log-probs of half-precision models by as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SMALLEST = 0.01
"""Nats of Λ(k) that count as a change at least."""
_WHOSE = ("base", "tuned")


@dataclass(frozen=True)
class Change:
    """A figure's change, tuned minus base, with its 95 % interval (NaN where one problem tells nothing of others)."""

    name: str
    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """+1 or -1 where the interval leaves out 0 on that side, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def text(self) -> str:
        """`Λ(1) +0.123 [+0.101, +0.145]`."""
        return f"{self.name} {self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def verdict(tuned: str, base: str, passes: Sequence[Change], same: Mapping[tuple[str, str], Change]) -> str:
    """The sentence.

    Args:
        tuned, base: what the models are called.
        passes: pass@k by k, those of the best source first.
        same: (whose responses, figure) → change on the same tokens.
    """
    ends = [passes[0], *_last_of_first(passes)] if passes else []
    shape, shown = _shape(same)
    moved = [change for change in ends if change.sign]
    if any(change.low != change.low for change in (*ends, *same.values())):
        return f"{tuned} and {base}: one problem tells nothing of others; diagnose on two problems or more."
    facts = "; ".join(change.text for change in [*shown, *ends])
    if shape is None and not moved:
        return f"{tuned} and {base}: no difference beyond noise ({facts})."
    first = {
        "concentrated": f"{tuned} is more concentrated than {base} on the same tokens",
        "flatter": f"{tuned} is flatter than {base} on the same tokens",
        "moved": f"{tuned} gives the same tokens other probabilities than {base}, neither plainly sharper nor flatter",
        None: f"{tuned} is no more concentrated than {base} on the same tokens",
    }[shape]
    second = _passing(moved)
    return f"{first}, and {second} ({facts})."


def _last_of_first(passes: Sequence[Change]) -> list[Change]:
    """The largest k of the first source, where it is another than the first k."""
    names = [change.name for change in passes]
    end = names.index(names[0], 1) if names.count(names[0]) > 1 else len(names)
    return [passes[end - 1]] if end > 1 else []


def _shape(same: Mapping[tuple[str, str], Change]) -> tuple[str | None, list[Change]]:
    """What became of the distributions, and the changes that show it: those on the base model's responses."""
    signs = {key: change.sign if abs(change.mean) >= SMALLEST else 0 for key, change in same.items()}
    first = {signs.get((whose, "Λ(1)"), 0) for whose in _WHOSE}
    second = {signs.get((whose, "Λ(2)"), 0) for whose in _WHOSE}
    shown = [same["base", name] for name in ("Λ(1)", "Λ(2)", "Λ(3)") if ("base", name) in same]
    if first == {1} and second == {-1}:
        return "concentrated", shown
    if first == {-1} and second == {1}:
        return "flatter", shown
    return ("moved" if any(signs.values()) else None), shown


def _passing(moved: Sequence[Change]) -> str:
    if not moved:
        return "pass@k does not differ beyond noise"
    words = [f"{change.name} {'rises' if change.sign > 0 else 'falls'}" for change in moved]
    return " while ".join(words) if len({change.sign for change in moved}) > 1 else " and ".join(words)
