"""What to type next, as it can be typed here: the lines that end a command which has written runs."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from .run_addresses import address_of, default_runs


def next_commands(written: Sequence[Path], query: str) -> list[str]:
    """How to look at runs in the dashboard, how to compare them (one is shown), and how to ask them by SQL.

    Args:
        written: the folders of the runs, of one folder of runs.
        query: one SELECT.
    """
    simko, runs = quoted(installed_command("simko")), written[0].parent
    dashboard = "" if runs == default_runs() else f" {quoted(str(runs))}"
    asked = quoted(str(written[0] if len(written) == 1 else runs))
    if len(written) == 1:
        compare = f"show {address_of(written[0])}"
    else:
        compare = f"diff {address_of(written[0])} {address_of(written[1])}"
    return [
        f"look at it: {simko} dashboard{dashboard}",
        f"compare:    {simko} {compare}",
        f"ask it:     {simko} query {quoted(query)} --runs {asked}",
    ]


def quoted(text: str) -> str:
    """Text as a shell takes it; double quotes around SQL, which has single ones inside."""
    plain = "'" in text and not set(text) & set('"$`\\!')
    return f'"{text}"' if plain else shlex.quote(text)


def installed_command(name: str) -> str:
    """How a person here can type an installed command: by its name if the shell finds that one, else by its path."""
    beside = Path(sys.executable).parent / name
    result = shutil.which(name)
    if not beside.exists() or (result and Path(result).resolve() == beside.resolve()):
        return name
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)
