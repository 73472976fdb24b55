"""Every benchmark of this machine's processor, one after the other, and `docs/performance.md` made from them.

    python benchmarks/run.py [--markdown docs/performance.md] [--only heads writing step task reading]

About half an hour on two quiet cores. `benchmarks/gpu.py` is apart: it needs a GPU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import probe_cost
import ranked_head
import reading
import torch
import training_step
import writing
from measure import Pages

PARTS = {
    "heads": lambda pages: ranked_head.report(pages, rounds=7),
    "step": lambda pages: training_step.report(pages, rounds=3, steps=2),
    "task": lambda pages: probe_cost.report(pages, rounds=5, steps=40),
    "writing": lambda pages: writing.report(pages, rounds=5),
    "reading": lambda pages: reading.report(pages, rounds=3, tokens=50_000_000, runs=None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", type=Path, help="write the tables there as well")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    pages = Pages()
    for part in options.only:
        PARTS[part](pages)
    if options.markdown:
        pages.write(options.markdown, "make bench")


if __name__ == "__main__":
    main()
