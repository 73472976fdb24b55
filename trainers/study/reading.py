"""Reads YAML strictly: keys given twice, unknown keys and values of another type are errors that name their place."""

from __future__ import annotations

from typing import Any

from ...store.errors import UsageError
from ...store.layout.schema import K_GRID
from ..options.methods import METHODS
from ..options.values import hint

Options = dict[str, Any]
Grid = dict[str, tuple[Any, ...]]
"""Option → the values that are tried; the grid's order is that of the product, the first option outermost."""

RESERVED = ("task", "method", "seed", "run_name", "output_dir", "probe", "resume", "config", "pass_at_k_split")
"""Options that the study sets itself."""


class Mapping:
    """A YAML mapping and where it stands; every reader raises `UsageError` where it finds something else.

    Args:
        where: the file and the place in it, as messages name them.
        content: what YAML read there.
    """

    def __init__(self, where: str, content: Any) -> None:
        if not isinstance(content, dict) or not content:
            raise UsageError(f"{where}: must be lines `key: value`")
        self.where, self.content = where, content

    def allow(self, *keys: str) -> None:
        """Refuse every other key."""
        for key in self.content:
            if key not in keys:
                raise UsageError(f"{self.where}: unknown key {key}{hint(key, keys)}")

    def given(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self.content

    def _value(self, key: str, what: str) -> Any:
        if key not in self.content:
            raise UsageError(f"{self.where}: {key} is missing; it must be {what}")
        return self.content[key]

    def _wrong(self, key: str, what: str) -> UsageError:
        return UsageError(f"{self.where}: {key} must be {what}, not {self.content[key]!r}")

    def text(self, key: str, default: str | None = None) -> str:
        """Text that is not blank."""
        if default is not None and key not in self.content:
            return default
        value = self._value(key, "text")
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, "text")
        return value.strip()

    def method(self, key: str) -> str:
        """The name of a training method."""
        name = self.text(key)
        if name not in METHODS:
            raise UsageError(f"{self.where}: unknown method {name}{hint(name, METHODS)}")
        return name

    def list(self, key: str) -> list[Any]:
        """A list that is not empty."""
        value = self._value(key, "a list")
        if not isinstance(value, list) or not value:
            raise self._wrong(key, "a list that is not empty")
        return value

    def integers(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Different whole numbers, none negative."""
        if default is not None and key not in self.content:
            return default
        what = "a list of different whole numbers, none negative"
        values = self._value(key, what)
        if not isinstance(values, list) or not values or any(type(v) is not int or v < 0 for v in values):
            raise self._wrong(key, what)
        if len(set(values)) < len(values):
            raise self._wrong(key, what)
        return tuple(values)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Different positive numbers."""
        what = "a list of different positive numbers"
        values = self._value(key, what)
        if not isinstance(values, list) or not values or any(type(v) not in (int, float) or v <= 0 for v in values):
            raise self._wrong(key, what)
        if len(set(values)) < len(values):
            raise self._wrong(key, what)
        return tuple(float(v) for v in values)

    def options(self, key: str) -> Options:
        """Options of `simko-train` and their values; empty where the key is not there."""
        if key not in self.content:
            return {}
        options = self.content[key]
        if not isinstance(options, dict):
            raise self._wrong(key, "lines `option: value`")
        for name, value in options.items():
            if name in RESERVED:
                raise UsageError(f"{self.where}: {key}: {name} is set by the study itself; leave it out")
            if value is None:
                raise UsageError(f"{self.where}: {key}: {name} has no value")
        return options

    def grid(self, key: str) -> Grid:
        """Options and the values to choose from; empty where the key is not there."""
        grid = self.options(key)
        for name, values in grid.items():
            if not isinstance(values, list) or not values:
                raise UsageError(f"{self.where}: {key}: {name} must be a list of values to choose from")
        return {name: tuple(values) for name, values in grid.items()}

    def maximise(self, key: str, default: str) -> tuple[int, ...]:
        """The k of a sum such as `pass@1+pass@256`."""
        text = self.text(key, default)
        names = [name.strip() for name in text.split("+")]
        known = {f"pass@{k}": k for k in K_GRID}
        if any(name not in known for name in names):
            raise UsageError(f"{self.where}: {key}: {text} must be a sum of {', '.join(known)}")
        return tuple(known[name] for name in names)
