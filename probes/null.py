"""What stands where no probe was asked for, so that trainers hold no `if probe`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from .recording.scope import Scope


class NullProbe:
    """A probe that does nothing: what stands where none was asked for."""

    active = False
    step = 1
    errors = 0
    recorder = None

    @contextmanager
    def batch(self, **_: Any) -> Iterator[Scope]:
        """Nothing."""
        yield Scope()

    def rescored(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def responses(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Nothing."""

    def evals(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Nothing."""

    def end_step(self, step: int | None = None) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def close(self, status: str = "finished") -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return
