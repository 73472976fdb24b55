"""`simko demo`: runs to look at, without a model: a small GRPO and SimKO pair, or one run of any size.

    simko demo                              runs/demo-grpo and runs/demo-simko, a few seconds
    simko demo --tokens 50M                 runs/demo with fifty million token rows

The figures are those of a made-up policy that is true to itself (`store/demo/small_run.py`,
`store/demo/large_run.py`): every page and query has something to show. A mistake is one line, exit code 2.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ..store.errors import RunExists, UsageError
from .terminal.parser import Parser
from .terminal.run_addresses import runs_of

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_SMALL_K = 17
_QUERY = "SELECT run, step, k, lambda_k FROM lambda_k WHERE k <= 3"


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko demo", description="Write runs to look at, without a model.")
    parser.add_argument("--tokens", type=_count, metavar="N", help="one run of so many token rows: 200k, 50M")
    parser.add_argument(
        "--runs", type=Path, metavar="FOLDER", help="where to write them (default: $SIMKO_RUNS, else runs)"
    )
    parser.add_argument("--name", default="demo", help="the run's name, or how both names begin (default: demo)")
    parser.add_argument("--steps", type=_count, metavar="N", help="optimizer steps (default: 40, or 200 with --tokens)")
    parser.add_argument("--probe_k", type=_count, default=5, metavar="K", help="ranked candidates per row (default: 5)")
    parser.add_argument("--seed", type=_seed, default=0, help="another seed is another policy (default: 0)")
    return parser


def _count(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", text.strip().lower())
    count = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0; give one like 40, 200k or 50M")
    return count


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; give a whole number, 0 or above")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        UsageError: an option is wrong, or a run of that name is there.
        RunUnwritable: the folder cannot be written.
    """
    from ..store.demo.large_run import CANDIDATES
    from ..store.layout.run import check_name, claim_folder
    from .terminal.next_commands import next_commands

    limit = CANDIDATES if options.tokens else _SMALL_K
    if options.probe_k > limit:
        raise UsageError(f"--probe_k {options.probe_k}: the demonstration has {limit} candidates per token")
    check_name(options.name)
    runs = runs_of(options)
    names = {method: f"{options.name}-{method}" for method in ("grpo", "simko")}
    written = [runs / name for name in ([options.name] if options.tokens else names.values())]
    for folder in written:
        try:
            claim_folder(folder, resume=False)
        except RunExists as error:
            raise UsageError(f"{folder} already holds a run; give another --name") from error
    if options.tokens:
        _write_large(options, runs)
    else:
        _write_small(options, runs, names)
    print(f"written: {', '.join(map(str, written))}")
    print("\n".join(next_commands(written, _QUERY)))
    return 0


def _write_large(options: argparse.Namespace, runs: Path) -> None:
    from tqdm import tqdm

    from ..store.demo.large_run import large_run_steps

    shared = {"tokens": options.tokens, "steps": options.steps or 200, "k": options.probe_k, "seed": options.seed}
    with tqdm(total=options.tokens, unit=" tokens", unit_scale=True, disable=None) as bar:
        for done in large_run_steps(runs, name=options.name, **shared):
            bar.update(done - bar.n)


def _write_small(options: argparse.Namespace, runs: Path, names: dict[str, str]) -> None:
    from ..store.demo.small_run import demonstration_steps

    shared = {"steps": options.steps or 40, "k": options.probe_k, "seed": options.seed}
    for method, name in names.items():
        for _ in demonstration_steps(runs, name=name, method=method, **shared):
            pass
