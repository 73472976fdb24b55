"""How the sub-commands of `simko` read their options: a mistake is one line that says where help is."""

from __future__ import annotations

import argparse
from typing import NoReturn

from ..store.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` without abbreviations whose mistakes are raised.

    Raises:
        UsageError: by `parse_args`.
    """

    def __init__(self, *, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and leaving."""
        raise UsageError(f"{message}; see `{self.prog} --help`")
