"""`simko demo`: runs to look at, without a model: a small GRPO and SimKO pair, or one run of any size.

    simko demo                              runs/demo-grpo and runs/demo-simko, a few seconds
    simko demo --tokens 50M                 runs/demo with fifty million token rows

The figures are those of a made-up policy that is true to itself (`store/demo/small_run.py`,
`store/demo/large_run.py`): every page and query has something to show. A mistake is one line, exit code 2.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tqdm import tqdm

from ..store.demo.large_run import CANDIDATES, large_run_steps
from ..store.demo.small_run import demonstration_steps
from ..store.errors import RunExists, UsageError
from ..store.layout.run import check_name, claim_folder
from .next_commands import next_commands
from .parser import Parser

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
_SMALL_K = 17


def _parser() -> Parser:
    parser = Parser(prog="simko demo", description="Write runs to look at, without a model.")
    parser.add_argument("--tokens", type=_count, metavar="N", help="one run of so many token rows: 200k, 50M")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="where (default: runs)")
    parser.add_argument("--name", default="demo", help="the run's name, or how both names begin (default: demo)")
    parser.add_argument("--steps", type=_count, metavar="N", help="optimizer steps (default: 40, or 200 with --tokens)")
    parser.add_argument("--probe_k", type=_count, default=5, metavar="K", help="ranked candidates a row (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="another one is another policy (default: 0)")
    return parser


def _count(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", text.strip().lower())
    count = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of them: give one like 40, 200k or 50M")
    return count


def demo_main(argv: list[str]) -> int:
    """Run the sub-command; returns the exit code.

    Raises:
        UsageError: an option is wrong, or a run of that name is there.
        RunUnwritable: the folder cannot be written.
    """
    options = _parser().parse_args(argv)
    limit = CANDIDATES if options.tokens else _SMALL_K
    if options.probe_k > limit:
        raise UsageError(f"--probe_k {options.probe_k}: the demonstration has {limit} candidates a token")
    check_name(options.name)
    names = {method: f"{options.name}-{method}" for method in ("grpo", "simko")}
    for name in [options.name] if options.tokens else names.values():
        try:
            claim_folder(options.runs / name, resume=False)
        except RunExists as error:
            raise UsageError(f"{options.runs / name} already holds a run; give another --name") from error
    if options.tokens:
        steps = options.steps or 200
        shared = {"tokens": options.tokens, "steps": steps, "k": options.probe_k, "seed": options.seed}
        rows = large_run_steps(options.runs, name=options.name, **shared)
        with tqdm(total=options.tokens, unit=" tokens", unit_scale=True, disable=None) as bar:
            for done in rows:
                bar.update(done - bar.n)
        folder = options.runs / options.name
    else:
        for method, name in names.items():
            shared = {"steps": options.steps or 40, "k": options.probe_k, "seed": options.seed}
            for _ in demonstration_steps(options.runs, name=name, method=method, **shared):
                pass
        folder = options.runs
    print(f"written: {folder}")
    print("\n".join(next_commands(options.runs, folder, "SELECT run, step, k, lambda_k FROM lambda_k WHERE k <= 3")))
    return 0


if __name__ == "__main__":
    sys.exit(demo_main(sys.argv[1:]))
