"""What reading a long run costs: Λ(1..5) from every token row, a live page's refresh, the first opening; and many runs.

    python benchmarks/reading.py [--tokens 50M] [--runs FOLDER] [--rounds 5] [--many 1000]

The run is that of `simko demo --tokens` (made in a temporary folder, 32 bytes per row, unless FOLDER has it already). A
scan is the SQL anyone would write on the view `tokens`; its rivals read the same files. A refresh takes in one new step
that a writer has just logged, and asks for Λ(1..5) of every step as the dashboard does. The first opening is a process
of its own: imports, catalog or mirror, first answer, and the most memory it held. Many short runs (`simko demo` writes
such) are listed by `simko ls`, and by the same query over the catalog that any other question is asked of.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import simko.store
from measure import Pages, interleaved, ratio
from rich.console import Console
from simko.cli.demo import _count
from simko.dashboard.mirror import Mirror
from simko.store.demo.large_run import large_run_steps, write_large_run
from simko.store.demo.small_run import write_demonstration_run

RANKS = [f"logp_{k}" for k in range(1, 6)]
MEANS = ", ".join(f"avg({name}) AS {name}" for name in RANKS)
LAMBDA = "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all' AND k <= 5 ORDER BY step, k"

_FIRST_ANSWER = """
import json, sys, time
began = time.perf_counter()
from pathlib import Path
if sys.argv[1] == "dashboard":
    from simko.dashboard.mirror import Mirror
    mirror = Mirror(Path(sys.argv[2]))
    mirror.refresh()
    with mirror.snapshot() as connection:
        connection.execute(sys.argv[3]).df()
else:
    import simko.store
    simko.store.open(sys.argv[2]).execute(sys.argv[3]).fetchall()
took = time.perf_counter() - began
status = Path("/proc/self/status").read_text()  # of this program: getrusage tells the parent's as well
print(json.dumps([took, int(status.split("VmHWM:")[1].split()[0]) / 1024]))
"""


def scans(run: Path) -> dict[str, Callable[[], object]]:
    """Ways to average log p(rank 1..5) by step over every token row, on one thread."""
    pattern = str(run / "tokens" / "*.parquet")
    ours, plain = simko.store.open(run), duckdb.connect()
    for connection in (ours, plain):
        connection.execute("SET threads = 1")
    pa.set_cpu_count(1)
    by_step = f"SELECT step, {MEANS} FROM {{source}} GROUP BY step ORDER BY step"

    def arrow() -> object:
        table = ds.dataset(str(run / "tokens")).to_table(columns=["step", *RANKS], use_threads=False)
        return table.group_by("step", use_threads=False).aggregate([(name, "mean") for name in RANKS])

    return {
        "simko: the view `tokens`": lambda: ours.execute(by_step.format(source="tokens")).fetchall(),
        "plain DuckDB on the files": lambda: plain.execute(by_step.format(source=f"'{pattern}'")).fetchall(),
        "pyarrow dataset": arrow,
    }


def refreshes(folder: Path, steps: int) -> list[float]:
    """CPU seconds of a dashboard's refresh and its query of Λ, each after one more step of a second, live run."""
    mirror, took = Mirror(folder), []
    mirror.refresh()
    live = large_run_steps(folder, name="live", tokens=steps * 2000, steps=steps, flush_seconds=0.0)
    for number, _ in enumerate(live):
        time.sleep(1.0)  # for the recorder's thread to be done with the step: its time would count
        began = time.process_time()
        mirror.refresh()
        mirror.frame(LAMBDA)
        if number:
            took.append(time.process_time() - began)
    return took


def first_answers(folder: Path, rounds: int) -> list[list[str]]:
    """Rows of a table: reader, wall seconds, most memory."""
    rows = []
    for reader, name in (("dashboard", "dashboard: mirror and Λ(1..5)"), ("query", "`simko.store.open` and Λ(1..5)")):
        result = []
        for _ in range(rounds):
            command = [sys.executable, "-c", _FIRST_ANSWER, reader, str(folder), LAMBDA]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            result.append(json.loads(done.stdout))
        seconds = sorted(each[0] for each in result)
        rows.append([name, f"{seconds[len(seconds) // 2]:.2f} s", f"{max(each[1] for each in result):.0f} MB"])
    return rows


_LISTED = """
import json, sys, time
began = time.perf_counter()
if sys.argv[1] == "ls":
    from simko.store.reading.held_tables import overview
    catalog, rows = overview(sys.argv[2])
else:
    from simko.store import Catalog
    from simko.store.reading.named_queries import named_query
    rows = Catalog(sys.argv[2]).connection.execute(named_query("overview").sql).fetchall()
took = time.perf_counter() - began
status = open("/proc/self/status").read()
print(json.dumps([took, time.process_time(), int(status.split("VmHWM:")[1].split()[0]) / 1024, len(rows)]))
"""


def many_runs(folder: Path, runs: int, rounds: int) -> list[list[str]]:
    """Rows of a table: reader, wall seconds, CPU seconds, × the first reader's, most memory."""
    for number in range(runs):
        if not (folder / f"run-{number:04d}").exists():
            method = ("grpo", "simko")[number % 2]
            write_demonstration_run(
                folder, name=f"run-{number:04d}", method=method, steps=8, responses=16, evaluate_every=8, seed=number
            )
    readers = {"ls": "`simko ls`", "catalog": "the query `overview` over the catalog"}
    results: dict[str, list[list[float]]] = {reader: [] for reader in readers}
    for _ in range(rounds):
        for reader, result in results.items():
            done = subprocess.run(
                [sys.executable, "-c", _LISTED, reader, str(folder)], stdout=subprocess.PIPE, text=True, check=True
            )
            result.append(json.loads(done.stdout))
            if result[-1][3] != runs:
                raise SystemExit(f"{reader} lists {result[-1][3]} of {runs} runs")
    first = [each[1] for each in results["ls"]]
    return [
        [
            name,
            f"{sorted(each[0] for each in results[reader])[rounds // 2]:.2f} s",
            f"{sorted(each[1] for each in results[reader])[rounds // 2]:.2f} s",
            ratio([each[1] for each in results[reader]], first),
            f"{max(each[2] for each in results[reader]):.0f} MB",
        ]
        for reader, name in readers.items()
    ]


def report(pages: Pages, rounds: int, tokens: int, runs: Path | None, many: int = 1000) -> None:
    with tempfile.TemporaryDirectory() if runs is None else nullcontext(str(runs)) as where:
        folder = Path(where)
        if not (folder / "demo").exists():
            Console().print(f"writing a run of {tokens:,} token rows …")
            write_large_run(folder, name="demo", tokens=tokens)
        seconds = interleaved(scans(folder / "demo"), rounds)
        ours = next(iter(seconds.values()))
        table = [[name, f"{tokens / min(s) / 1e6:.1f} M", ratio(s, ours)] for name, s in seconds.items()]
        title = f"Λ(1..5) by step from {tokens:,} token rows"
        pages.table(title, ["", "rows per CPU-second", "× the time of simko's view"], table)
        refresh = sorted(refreshes(folder, 12))
        middle = refresh[len(refresh) // 2]
        row = ["refresh and Λ(1..5) from roll-ups", f"{1e3 * middle:.0f} ms", f"{min(ours) / middle:.0f}"]
        pages.table("A live page's refresh beside that run", ["", "CPU time", "times cheaper than the scan"], [row])
        rows = first_answers(folder, 3)
        pages.table("First answer of a new process", ["", "wall time, imports included", "most memory"], rows)
        Console().print(f"writing {many:,} short runs …")
        rows = many_runs(folder / "many", many, 3)
        headings = ["", "wall time, imports included", "CPU time", "× the CPU time of `simko ls`", "most memory"]
        pages.table(f"A list of {many:,} runs", headings, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=_count, default=50_000_000)
    parser.add_argument("--runs", type=Path, help="a folder that has the run `demo`, or where to make it")
    parser.add_argument("--many", type=_count, default=1000, help="how many short runs are listed")
    options = parser.parse_args()
    report(Pages(), options.rounds, options.tokens, options.runs, options.many)


if __name__ == "__main__":
    main()
