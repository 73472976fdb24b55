"""The paper's toy as a task: a tree of depth three with six rewarded paths, to see how many of them a method keeps.

One prompt, `root`; a response is three actions of `A B C D`, such as `A C D`. Six of the 64 paths are right. A policy
that has found them all has no need to forget any: pass@1 can reach 1 with one path or with six.

Source: arXiv 2510.14807v3, section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...store.layout.schema import Verdict
from .base import extracted_listed, judge_listed
from .catalogue import Benchmark

ACTIONS = ("A", "B", "C", "D")
DEPTH = 3
PROMPT = "root"
PATHS = ("A C D", "A C B", "B D C", "B D A", "C A B", "D B A")
"""The rewarded ones."""
_ROWS = 64
"""Copies of the one problem to train on: a rollout batch takes several groups of it."""


class Tree:
    """A `Task` with a single problem, trained and evaluated on."""

    name = "tree"
    enumerates_answers = True
    max_completion_length = DEPTH + 2
    validation = None
    stop: tuple[str, ...] = ()
    settings: Benchmark | None = None

    def __init__(self) -> None:
        from datasets import Dataset

        row = {"prompt": PROMPT, "prompt_id": "tree", "answer": list(PATHS)}
        self.train: Any = Dataset.from_list([row] * _ROWS)
        self.heldout: Any = Dataset.from_list([row])

    def judge(self, texts: Sequence[str], answers: Sequence[Sequence[str]]) -> list[Verdict]:
        """Right if the response is a rewarded path."""
        return judge_listed(texts, answers)

    def extracted(self, texts: Sequence[str]) -> list[bool]:
        """Whether a response says anything."""
        return extracted_listed(texts)

    def close(self) -> None:
        """Nothing runs."""
