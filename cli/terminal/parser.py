"""How the sub-commands of `simko` read their options: a mistake is one line with the nearest known word.

No library is loaded here, so that a mistake is reported at once.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from ...store.errors import UsageError, nearest


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` without abbreviations whose mistakes are raised.

    Raises:
        UsageError: by `parse_args`.
    """

    def __init__(self, *, prog: str, description: str, **settings: Any) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, **settings)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As `ArgumentParser.parse_args`; an unknown option is refused with the nearest known one."""
        options, unknown = self.parse_known_args(args, namespace)
        for word in unknown:
            if word.startswith("-") and word != "-":
                name = word.partition("=")[0]
                raise UsageError(f"unknown option {name}; {self._hint(name, self._option_string_actions)}")
        if unknown:
            raise UsageError(f"unexpected argument {unknown[0]}; see `{self.prog} --help`")
        return options

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and leaving."""
        if wrong := re.match(r"argument (\S+): invalid choice: '?(.*?)'? \(choose from", message):
            choices = self._choices(wrong[1])
            near = nearest(wrong[2], choices)
            hint = f"did you mean {near}?" if near else f"there are: {', '.join(choices)}"
            raise UsageError(f"no {wrong[1]} {wrong[2]}; {hint}")
        if missing := re.fullmatch(r"argument (\S+): expected .*argument", message):
            raise UsageError(f"{missing[1]} needs a value; see `{self.prog} --help`")
        raise UsageError(f"{message.removeprefix('argument ')}; see `{self.prog} --help`")

    def _choices(self, argument: str) -> list[str]:
        """The choices of an argument, as messages of argparse call it."""
        called = {"/".join(a.option_strings) or str(a.metavar or a.dest): a.choices for a in self._actions}
        return [str(choice) for choice in called.get(argument) or ()]

    def _hint(self, word: str, known: Iterable[str]) -> str:
        near = nearest(word, known)
        return f"did you mean {near}?" if near else f"see `{self.prog} --help`"
