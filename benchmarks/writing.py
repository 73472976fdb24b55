"""What a token row costs to write and to keep, beside other ways to log it.

    python benchmarks/writing.py [--rounds 5]

131072 rows of a vocabulary of 50000 with K = 5, values random, so that nothing compresses better than it would in a
run. JSONL, trackio and wandb get a share of the rows and are scaled up; the last two are measured where installed
(`pip install trackio wandb`), offline, from a table's making to the end of a run that was begun before. `put()` is
wall time, the time the training thread waits.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from measure import Pages, interleaved, ratio
from simko.store import Recorder, TokenBatch
from simko.store.layout.run import create_or_resume
from simko.store.writing.parquet import token_table, write_part

K = 5
RESPONSES, WIDTH = 512, 256
OURS, DEFAULTS, PANDAS, JSONL = "simko: rows and Parquet part", "pyarrow's defaults", "pandas", "JSONL"
WANDB, TRACKIO = "wandb table, offline", "trackio table"
SHARE = 64
"""The slow ones write one row in so many."""
Writers = dict[str, Callable[[], None]]
"""Name → one write."""


def token_batch(responses: int, width: int) -> TokenBatch:
    rng = np.random.default_rng(0)
    shape = (responses, width)
    top = np.sort(np.log(rng.dirichlet(np.ones(12), size=shape)), -1)[..., ::-1][..., :K].astype(np.float32)
    return TokenBatch(
        step=1,
        response_id=np.arange(responses),
        verdict=rng.integers(0, 2, responses).astype(np.int8),
        mask=np.ones(shape, bool),
        token_id=rng.integers(0, 50_000, shape),
        logprob=top[..., 0],
        rank=rng.integers(1, 4, shape),
        entropy=rng.random(shape).astype(np.float32),
        collision=rng.random(shape).astype(np.float32),
        forking=rng.random(shape) < 0.2,
        top_logprob=top,
        top_id=rng.integers(0, 50_000, (*shape, K)),
    )


def bytes_in(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def writers(folder: Path, sizes: dict[str, float], rounds: int) -> Writers:
    """Each notes its bytes per row in `sizes`."""
    batch = token_batch(RESPONSES, WIDTH)
    table = token_table(batch, k=K, attempt=1, worker=0)
    frame, some = table.to_pandas(), table.slice(0, table.num_rows // SHARE)

    def ours() -> None:
        path = folder / "tokens" / "part.parquet"
        write_part(path, "tokens", token_table(batch, k=K, attempt=1, worker=0))
        sizes[OURS] = bytes_in(path) / table.num_rows

    def defaults() -> None:
        pq.write_table(table, folder / "default.parquet")
        sizes[DEFAULTS] = bytes_in(folder / "default.parquet") / table.num_rows

    def pandas() -> None:
        frame.to_parquet(folder / "pandas.parquet")
        sizes[PANDAS] = bytes_in(folder / "pandas.parquet") / table.num_rows

    def jsonl() -> None:
        with (folder / "rows.jsonl").open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in some.to_pylist())
        sizes[JSONL] = bytes_in(folder / "rows.jsonl") / some.num_rows

    result = {OURS: ours, DEFAULTS: defaults, PANDAS: pandas, JSONL: jsonl}
    return result | trackers(folder, some.to_pandas(), sizes, rounds)


def trackers(folder: Path, few: pd.DataFrame, sizes: dict[str, float], rounds: int) -> Writers:
    """The trackers that are installed; their runs are begun before any clock runs."""
    result: Writers = {}
    if importlib.util.find_spec("wandb"):
        import wandb

        quiet = wandb.Settings(silent=True)
        inside = [Path(tempfile.mkdtemp(dir=folder)) for _ in range(rounds + 1)]
        runs = [
            wandb.init("benchmark", mode="offline", dir=str(d), settings=quiet, reinit="create_new") for d in inside
        ]
        begun = iter(zip(inside, runs, strict=True))

        def log_wandb() -> None:
            where, run = next(begun)
            run.log({"tokens": wandb.Table(dataframe=few)})
            run.finish()
            sizes[WANDB] = bytes_in(where) / len(few)

        result[WANDB] = log_wandb
    if importlib.util.find_spec("trackio"):
        os.environ["TRACKIO_DIR"] = str(folder / "trackio")  # read when it is imported, which may have happened
        import trackio
        from trackio.utils import TRACKIO_DIR as home

        with contextlib.redirect_stdout(io.StringIO()):
            waiting = iter([trackio.init(f"r{n}", embed=False, auto_log_cpu=False) for n in range(rounds + 1)])

        def log_trackio() -> None:
            before = bytes_in(home)
            with contextlib.redirect_stdout(io.StringIO()):
                run = next(waiting)
                run.log({"tokens": trackio.Table(dataframe=few)})
                run.finish()
            sizes[TRACKIO] = (bytes_in(home) - before) / len(few)

        result[TRACKIO] = log_trackio
    return result


def waits(folder: Path, width: int, puts: int = 60) -> tuple[float, float]:
    """Median wall seconds of `put()` and of writing the same batch in place, 16 responses of `width` tokens."""
    batch = token_batch(16, width)
    create_or_resume(folder / "run", {}, resume=False)
    took, inline = [], []
    with Recorder(folder / "run", k=K, attempt=1, queue_depth=2 * puts) as recorder:
        for number in range(puts):
            began = time.perf_counter()
            recorder.put(batch)
            took.append(time.perf_counter() - began)
            recorder.end_step(number + 1)
            began = time.perf_counter()
            path = folder / "inline" / f"{number}.parquet"
            write_part(path, "tokens", token_table(batch, k=K, attempt=1, worker=0))
            inline.append(time.perf_counter() - began)
    return statistics.median(took), statistics.median(inline)


def report(pages: Pages, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sizes: dict[str, float] = {}
        group = writers(Path(folder), sizes, rounds)
        seconds = interleaved(group, rounds)
        rows = RESPONSES * WIDTH
        table = []
        for name, each in seconds.items():
            scale = SHARE if name not in (OURS, DEFAULTS, PANDAS) else 1
            rate = rows / (scale * statistics.median(each))
            slower = ratio(each, seconds[OURS], scale)
            table.append([name, f"{rate / 1e3:,.0f}", slower, f"{sizes[name]:.1f}", f"{sizes[name] / sizes[OURS]:.1f}"])
        heads = ["", "rows per CPU-ms", "× the time of simko", "bytes per row", "× the bytes"]
        pages.table(f"Writing token rows, K = {K}", heads, table)
        table = []
        for width in (512, 3072):
            put, inline = waits(Path(folder) / str(width), width)
            table.append([f"16 responses of {width} tokens", f"{1e3 * put:.3f} ms", f"{inline / put:.0f}"])
        heads = ["", "`put()`, wall time", "times faster than writing in place"]
        pages.table("What the training thread waits for", heads, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report(Pages(), options.rounds)


if __name__ == "__main__":
    main()
