"""How the sub-commands of `simko` read their options: a mistake is one line that says where help is."""

from __future__ import annotations

import argparse
from typing import NoReturn

from ..store.errors import SimkoError


class OptionWrong(SimkoError):
    """An option of a sub-command is unknown, missing, or has a value it cannot have."""


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` without abbreviations whose mistakes are raised.

    Raises:
        OptionWrong: by `parse_args`.
    """

    def __init__(self, *, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and leaving."""
        raise OptionWrong(f"{message}; see `{self.prog} --help`")
