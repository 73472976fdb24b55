"""How the processes of a training share an evaluation: each measures every world-th problem, and all get the whole.

Every process takes part in every forward, because a sharded model (FSDP2, ZeRO-3) is gathered for each: each gets
equally many problems, the last ones filled up with its first, and makes as many batches as the busiest process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ranks:
    """The processes; by default there is one.

    Attributes:
        index: of this process.
        count: of all.
    """

    index: int = 0
    count: int = 1

    def own(self, problems: int) -> int:
        """How many of so many problems are this process's."""
        return len(range(self.index, problems, self.count))

    def rows(self, problems: int) -> list[int]:
        """The problems that this process measures: its own, filled up to the number of the busiest process."""
        own = list(range(self.index, problems, self.count))
        return own + [own[0] if own else 0] * (-(-problems // self.count) - len(own))

    def together(self, values: Sequence[Any]) -> list[Any]:
        """The values of every process's own problems, in the order of the problems. Collective."""
        parts = self._gathered(list(values))
        longest = max(map(len, parts))
        return [part[place] for place in range(longest) for part in parts if place < len(part)]

    def most(self, number: int) -> int:
        """The largest of the processes' numbers. Collective."""
        return max(self._gathered(number))

    def every(self, value: Any) -> list[Any]:
        """Every process's value. Collective."""
        return self._gathered(value)

    def _gathered(self, value: Any) -> list[Any]:
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        gathered: list[Any] = gather_object([value])
        return gathered


ALONE = Ranks()
"""One process."""
