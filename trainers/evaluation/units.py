"""An evaluation split into units: blocks of problems and samples that are drawn, judged and published one by one.

A unit's draws have a seed of their own, so one that is done again after a kill draws what it drew before. The samples
of a block of problems come before the next problems.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNIT_RESPONSES = {"transformers": 512, "server": 2048, "vllm": 2048}
"""Responses of a unit when nothing else is said; servers draw many at a time, and wait for the last of a unit."""
_SAMPLES = 64
"""Samples per problem of a unit, at most."""


@dataclass(frozen=True)
class Unit:
    """One block.

    Attributes:
        number: within its evaluation, from 0.
        first, last: problems, the last one not included.
        first_sample, samples: which responses to each of them; no samples: their exact success instead.
    """

    number: int
    first: int
    last: int
    first_sample: int = 0
    samples: int = 0

    @property
    def responses(self) -> int:
        """How many it draws."""
        return (self.last - self.first) * self.samples

    def seed(self, benchmark: str, seed: int) -> int:
        """Of its draws: 31 bits."""
        text = f"{benchmark} {seed} {self.first} {self.last} {self.first_sample} {self.samples}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def split(problems: int, samples: int, *, exact: bool, responses: int) -> dict[str, int]:
    """How an evaluation is split: the entries of its manifest that `units` reads.

    Args:
        problems: how many there are.
        samples: per problem.
        exact: whether there is a unit of exact successes.
        responses: of a unit, about.
    """
    each = min(samples, _SAMPLES, responses)
    block = max(1, responses // each)
    count = -(-problems // block) * -(-samples // each)
    return {"units": count + exact, "problems_per_unit": block, "samples_per_unit": each}


def units(header: Mapping[str, Any]) -> list[Unit]:
    """The units of an evaluation, the exact one first, as its manifest says they are split."""
    problems, samples = int(header["problems"]), int(header["settings"]["samples"])
    block, each = int(header["problems_per_unit"]), int(header["samples_per_unit"])
    blocks = [
        (first, min(problems, first + block), start, min(each, samples - start))
        for first in range(0, problems, block)
        for start in range(0, samples, each)
    ]
    exact = int(header["units"]) - len(blocks)
    result = [Unit(0, 0, problems)] if exact else []
    return result + [Unit(number, *place) for number, place in enumerate(blocks, exact)]


def identity(weights: str, benchmark: str, settings: Mapping[str, Any]) -> str:
    """Of an evaluation: the same weights, benchmark, settings and seed are the same evaluation."""
    text = json.dumps([weights, benchmark, dict(settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
