"""`simko dashboard`: the runs of a folder in the browser, also while they train.

    simko dashboard                              the folder of runs: $SIMKO_RUNS, else runs
    simko dashboard runs/paper-laptop --port 8600 --headless

Streamlit serves files that lie beside the script it runs, and the charts need one such file. So that nothing is written
where the package is installed, a copy of the script and its settings lies in the user's cache
($XDG_CACHE_HOME/simko/<version>, else ~/.cache), and Streamlit runs that one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from ..store.errors import UsageError
from ..store.extras import require
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, here, runs_of

_COPIED = ("app.py", ".streamlit/config.toml")


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko dashboard", description="Look at runs in the browser, also while they train.")
    parser.add_argument("folder", nargs="?", help="a folder of runs or a run, by name or path (default: all of --runs)")
    add_runs_option(parser)
    parser.add_argument("--port", type=_port, metavar="N", help="its port (default: 8501, or the next free one)")
    parser.add_argument("--headless", action="store_true", help="only print the address; open no browser")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 1 to 65535")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Become Streamlit; returns only where that fails.

    Raises:
        SimkoError: there is no such run, or the extra `dashboard` is not installed.
    """
    require("streamlit", "plotly", extra="dashboard")
    runs = runs_of(options)
    folder = here(runs) if options.folder is None else find_run(options.folder, runs)
    os.execv(sys.executable, command(script(), folder, port=options.port, headless=options.headless))


def command(app: Path, runs: Path, *, port: int | None, headless: bool) -> list[str]:
    """The command line of Streamlit."""
    settings = [f"--server.headless={str(headless).lower()}", "--server.showEmailPrompt=false"]
    if port is not None:
        settings.append(f"--server.port={port}")
    return [sys.executable, "-m", "streamlit", "run", str(app), *settings, "--", "--runs", str(runs)]


def script() -> Path:
    """The script to run, in a folder that can be written: its copy is made or brought up to date.

    Raises:
        UsageError: neither the cache nor the folder of temporary files can be written.
    """
    from ..dashboard.components.plotly_script import put_script

    for folder in (_cache(), Path(tempfile.gettempdir()) / f"simko-{os.getuid()}-{os.getpid()}"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in _COPIED:
                _copy(name, folder / name)
            put_script(folder / "static")
            return folder / "app.py"
        except OSError as error:
            reason = f"cannot write {folder} ({error.strerror}); set XDG_CACHE_HOME to a folder that can be written"
    raise UsageError(reason)


def _cache() -> Path:
    from .simko import installed_version

    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "simko" / installed_version()


def _copy(name: str, target: Path) -> None:
    """Copy a file of the package, unless it is there as it should be."""
    content = (files("simko.dashboard") / name).read_bytes()
    if target.is_file() and target.read_bytes() == content:
        return
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, target)
