"""What to type next, as it can be typed here: the lines that end a command which has written a run."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path


def next_commands(runs: Path, asked: Path, query: str) -> list[str]:
    """How to open the dashboard on the folder `runs` and how to ask `asked` (a run or a folder of runs) by SQL."""
    return [
        f"look at it: {_command('streamlit')} run {_dashboard()} -- --runs {runs}",
        f'ask it:     {_command("simko")} query "{query}" --runs {asked}',
    ]


def _command(name: str) -> str:
    """How a person here can type an installed command: by its name if the shell finds that one, else by its path."""
    beside = Path(sys.executable).parent / name
    result = shutil.which(name)
    if not beside.exists() or (result and Path(result).resolve() == beside.resolve()):
        return name
    return _short(beside)


def _dashboard() -> str:
    spec = find_spec("simko.dashboard")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return _short(Path(folders[0]) / "app.py") if folders else "dashboard/app.py"


def _short(path: Path) -> str:
    """The path as seen from the current folder, if it lies in there."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
