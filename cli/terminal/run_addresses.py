"""How a person says which run is meant: by its name in the folder of runs, or by a path.

    simko show grpo-short                        runs/grpo-short
    simko show grpo-short --runs /data/runs      /data/runs/grpo-short
    simko show ./elsewhere/grpo-short            that folder

The folder of runs is `--runs FOLDER`, else $SIMKO_RUNS, else `runs`. Only names are looked at there: whatever else lies
in that folder does not matter. Which of two readings counts: a path that is a run, a name, any other folder.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from ...store.errors import RunNotFound, UsageError, nearest

RUN_FILE = "run.json"
"""As in `store/layout/run.py`, which loads more than a mistake or a Tab needs."""
DEFAULT = "runs"
_ADVICE = "give the path of the run, or the folder of runs with --runs"


def default_runs() -> Path:
    """$SIMKO_RUNS, else `runs`."""
    return Path(os.environ.get("SIMKO_RUNS") or DEFAULT)


def add_runs_option(parser: argparse.ArgumentParser, help: str = "the folder where names are looked up") -> None:
    """Add `--runs FOLDER`; its value is None where it is not given (see `runs_of`)."""
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help=f"{help} (default: $SIMKO_RUNS, else runs)")


def runs_of(options: argparse.Namespace) -> Path:
    """The folder of runs that was asked for, or its address in a bucket, which whoever opens it follows."""
    return options.runs if options.runs is not None else default_runs()


def here(address: str | Path) -> Path:
    """A folder as it is, and of an address in a bucket its copy here.

    Raises:
        SimkoError: the address cannot be read.
    """
    if not _is_remote(address):
        return Path(address)
    from ...store.remote.address import local

    return local(address)


def _is_remote(address: str | Path) -> bool:
    """As `store/remote/address.py` says it, which loads more than a mistake or a Tab needs."""
    return str(address).split("/")[0] == "s3:"


def check_own(folder: Path) -> None:
    """See that a folder may be written.

    Raises:
        UsageError: it is a copy of one in a bucket.
    """
    from ...store.remote.address import is_copy

    if is_copy(folder):
        raise UsageError(f"{folder} is a copy of runs in a bucket, which is only read; do this where they are")


def find_run(address: str, runs: Path) -> Path:
    """The folder of a run (or of a study or several runs) from its name or path.

    Raises:
        RunNotFound: there is no such name; the nearest one is named.
    """
    if _is_remote(address):
        return here(address)
    path = Path(address)
    if path.is_absolute() or is_run(path):
        return path
    runs = here(runs)
    named = runs / address
    if is_run(named) or (not os.path.exists(path) and os.path.isdir(named)):
        return named
    if os.path.exists(path) or "/" in address:
        return path
    raise RunNotFound(_unknown(address, runs))


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return os.path.isfile(folder / RUN_FILE)


def run_names(runs: Path) -> list[str]:
    """The names in a folder of runs, in order; none where there is no such folder."""
    try:
        return sorted(entry.name for entry in os.scandir(runs) if is_run(Path(entry.path)))
    except OSError:
        return []


def address_of(run: Path) -> str:
    """The shortest way to say which run is meant, as a shell takes it: its name if it lies in the default folder."""
    return shlex.quote(run.name if run.parent == default_runs() else str(run))


def _unknown(name: str, runs: Path) -> str:
    if not runs.is_dir():
        return f"no run named {name}: there is no folder {runs}; {_ADVICE}"
    known = run_names(runs)
    if not known:
        return f"no run named {name}: {runs} holds no runs; {_ADVICE}"
    near = nearest(name, known)
    listing = "simko ls" if runs == default_runs() else f"simko ls --runs {shlex.quote(str(runs))}"
    hint = f"did you mean {near}? (`{listing}` lists them)" if near else f"`{listing}` lists them"
    return f"no run named {name} in {runs}/; {hint}"
