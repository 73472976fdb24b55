"""`simko compact`, `simko gc`, `simko doctor`: keeping the files of runs small in number, clean and honest.

simko compact runs/first           merge small files into large ones; answers stay the same
simko gc runs/first [--delete]     files nobody needs: shown, or removed
simko doctor runs [--deep]         what is whole and what was lost; exit code 1 where something was
"""

from __future__ import annotations

from pathlib import Path

from ..store.maintenance.compaction import compact
from ..store.maintenance.doctor import Checkup, check
from ..store.maintenance.garbage import GRACE_SECONDS, collect, garbage
from .answers import printable
from .parser import Parser


def compact_main(argv: list[str]) -> int:
    """Run `simko compact`; returns the exit code.

    Raises:
        SimkoError: an option is wrong, or the run cannot be compacted.
    """
    parser = Parser(prog="simko compact", description="Merge the small files of a run.")
    parser.add_argument("run", type=Path, help="the run's folder")
    options = parser.parse_args(argv)
    done = compact(options.run)
    for line in done.left:
        print(f"left alone: {printable(line)}")
    if not done.made:
        print(f"{options.run}: nothing to merge")
        return 0
    print(
        f"{options.run}: {done.replaced} files ({done.bytes_before / 1e6:.1f} MB) merged into {done.made} "
        f"({done.bytes_after / 1e6:.1f} MB), {done.rows} rows; the old ones can go in {GRACE_SECONDS:.0f} s: "
        f"simko gc {options.run} --delete"
    )
    return 0


def gc_main(argv: list[str]) -> int:
    """Run `simko gc`; returns the exit code.

    Raises:
        SimkoError: an option is wrong, or there is no such run.
    """
    parser = Parser(prog="simko gc", description="Show or remove files of a run nobody needs.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--delete", action="store_true", help="remove them")
    options = parser.parse_args(argv)
    result = collect(options.run) if options.delete else garbage(options.run)
    for item in result:
        print(f"{item.bytes:>12,} B  {printable(str(item.path))}  {item.reason}")
    size = sum(item.bytes for item in result) / 1e6
    print(f"{options.run}: {len(result)} files, {size:.1f} MB, {'removed' if options.delete else 'can go (--delete)'}")
    return 0


def doctor_main(argv: list[str]) -> int:
    """Run `simko doctor`; returns 0 where every run is whole, 1 where something is missing.

    Raises:
        SimkoError: an option is wrong, or the folder does not exist.
    """
    parser = Parser(prog="simko doctor", description="What is whole and what was lost.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="a run or a folder of runs")
    parser.add_argument("--deep", action="store_true", help="read every row as well")
    options = parser.parse_args(argv)
    checkups, problems = check(options.folder, deep=options.deep)
    for checkup in checkups:
        _tell(checkup)
    for problem in problems:
        print(f"✗ {printable(problem)}")
    if not checkups and not problems:
        print(f"no runs in {options.folder}")
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
