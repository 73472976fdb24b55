"""`simko compact`, `simko gc`, `simko doctor`: keeping the files of runs few, clean and honest.

simko compact first           merge small files into large ones; answers stay the same
simko gc first [--delete]     removable files: shown, or removed
simko doctor [--deep]         what is whole and what was lost; exit code 1 where something was
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from .terminal.output import printable
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, check_own, find_run, here, runs_of

if TYPE_CHECKING:
    from ..store.maintenance.doctor import Checkup


def compact_parser() -> Parser:
    """The options of `simko compact`."""
    parser = Parser(prog="simko compact", description="Merge the small files of a run.")
    parser.add_argument("run", help="the run's name or folder")
    add_runs_option(parser)
    return parser


def compact(options: argparse.Namespace) -> int:
    """Run `simko compact`; returns the exit code.

    Raises:
        SimkoError: there is no such run, or it cannot be compacted.
    """
    from ..store.maintenance.compaction import compact as merge
    from ..store.maintenance.garbage import GRACE_SECONDS

    folder = find_run(options.run, runs_of(options))
    check_own(folder)
    done = merge(folder)
    for line in done.left:
        print(f"left alone: {printable(line)}")
    if not done.made:
        print(f"{folder}: nothing merged" if done.left else f"{folder}: nothing to merge")
        return int(bool(done.left))
    print(
        f"{folder}: {done.replaced} files ({done.bytes_before / 1e6:.1f} MB) merged into {done.made} "
        f"({done.bytes_after / 1e6:.1f} MB), {done.rows} rows; the old ones can be removed in {GRACE_SECONDS:.0f} s: "
        f"simko gc {shlex.quote(str(folder))} --delete"
    )
    return int(bool(done.left))


def gc_parser() -> Parser:
    """The options of `simko gc`."""
    parser = Parser(prog="simko gc", description="Show or remove the removable files of a run.")
    parser.add_argument("run", help="the run's name or folder")
    add_runs_option(parser)
    parser.add_argument("--delete", action="store_true", help="remove them")
    return parser


def gc(options: argparse.Namespace) -> int:
    """Run `simko gc`; returns the exit code.

    Raises:
        SimkoError: there is no such run, or its files cannot be removed.
    """
    from ..store.maintenance.garbage import collect, garbage

    folder = find_run(options.run, runs_of(options))
    check_own(folder)
    result = collect(folder) if options.delete else garbage(folder)
    for item in result:
        print(f"{item.bytes:>12,} bytes  {printable(str(item.path))}  {item.reason}")
    size = sum(item.bytes for item in result) / 1e6
    state = "removed" if options.delete else "removable (remove them with --delete)"
    print(f"{folder}: {len(result)} files, {size:.1f} MB, {state}")
    return 0


def doctor_parser() -> Parser:
    """The options of `simko doctor`."""
    parser = Parser(prog="simko doctor", description="What of the logs is whole and what was lost.")
    parser.add_argument("run", nargs="?", help="a run or a folder of runs, by name or path (default: all of --runs)")
    add_runs_option(parser)
    parser.add_argument("--deep", action="store_true", help="read every row as well")
    return parser


def doctor(options: argparse.Namespace) -> int:
    """Run `simko doctor`; returns 0 where every run is whole, 1 where something is missing.

    Raises:
        SimkoError: there is no such run or folder.
    """
    from ..store.maintenance.doctor import check

    runs = runs_of(options)
    folder = here(runs) if options.run is None else find_run(options.run, runs)
    checkups, problems = check(folder, deep=options.deep)
    for checkup in checkups:
        _tell(checkup)
    for problem in problems:
        print(f"✗ {printable(problem)}")
    if not checkups and not problems:
        print(f"no runs in {folder}")
    return 0 if all(checkup.healthy for checkup in checkups) and not problems else 1


def _tell(checkup: Checkup) -> None:
    state = "healthy" if checkup.healthy else f"{len(checkup.findings)} finding{'s' * (len(checkup.findings) > 1)}"
    size = f"{checkup.files} files, {checkup.rows} rows, {checkup.bytes / 1e6:.1f} MB"
    print(f"{printable(checkup.run)}: {state}; {size}")
    for attempt in checkup.attempts:
        print(f"    attempt {printable(attempt)}")
    for finding in checkup.findings:
        print(f"  ✗ {printable(finding)}")
    for note in checkup.notes:
        print(f"  · {printable(note)}")
