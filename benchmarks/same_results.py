"""Proof that a refactoring changed nothing: two checkouts train, log and ask the same, and every figure is compared.

    python benchmarks/same_results.py BEFORE AFTER                    every method, minutes on two cores
    python benchmarks/same_results.py BEFORE AFTER --methods simko

BEFORE and AFTER are checkouts with their own `.venv` (`make .venv/installed-dev`). Each trains a few probed steps with
every method from the same seed and writes the two demonstration runs. Compared, to the last bit: every figure the
trainer logs, every weight and every row of every Parquet table; to twelve digits: every row of every view and named
query, whose sums DuckDB makes in an order that differs between two calls. Only what a clock says is left out. Exit
code 1, and a line for each difference, where something differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

METHODS = [
    "grpo", "simko", "psr", "nsr", "w_reinforce", "kl_cov", "clip_cov", "entropy_adv", "entropy_loss",
    "forking_tokens", "passk_training", "pkpo", "dr_grpo", "dapo", "gspo", "cispo",
]  # fmt: skip
SHORT = [
    "--probe", "--probe_rescore", "1", "--seed", "3", "--max_steps", "4", "--save_steps", "4", "--logging_steps", "1",
    "--pass_at_k_steps", "2", "--per_device_train_batch_size", "32", "--pass_at_k_samples", "8",
    "--pass_at_k_problems", "40",
]  # fmt: skip
CLOCKED = {"created", "begun", "n_bytes", "share", "bytes_per_token", "started", "ended", "n_rows", "n_files"}
"""Columns that hold times, sizes or what had been written by some time; so do names with one of `CLOCKED_PARTS`."""
RENAMED = {"query losses-of-data.parquet": "query missing-data.parquet"}
"""Questions that have another name in one of the checkouts."""
CLOCKED_PARTS = ("_ms", "time", "runtime", "per_second", "bytes", "MB")

ASK = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
import simko.store
from simko.store.named_queries import named_queries
folder, output = sys.argv[1:]
with simko.store.open(folder) as connection:
    connection.execute("SET threads = 1")  # sums of floats depend on their order
    for table in ("tokens", "responses", "rollups", "evals"):
        rows = connection.execute(f"SELECT * FROM all_{table}").to_arrow_table()
        pq.write_table(rows, Path(output) / f"rows {table}.parquet")
    views = [name for name, in connection.execute(
        "SELECT view_name FROM duckdb_views() WHERE NOT internal AND NOT starts_with(view_name, 'all_')").fetchall()]
    questions = {f"view {name}": (f"SELECT * FROM {name}", {}) for name in views}
    for name, query in named_queries().items():
        questions[f"query {name}"] = (query.sql, query.parameters({}))
    for name, (sql, parameters) in questions.items():
        answer = connection.execute(sql, {k: v for k, v in parameters.items() if f"${k}" in sql} or None)
        pq.write_table(answer.to_arrow_table(), Path(output) / f"{name}.parquet")
"""


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as both:
        outputs = [Path(folder) / "before", Path(folder) / "after"]
        list(both.map(results, (options.before, options.after), outputs, [options.methods] * 2))
        compared, differences = 0, []
        for kind in (figures, weights, rows, answers):
            first, second = kind(outputs[0]), kind(outputs[1])
            values, lines = compare(kind.__name__, first, second)
            compared += values
            differences += lines
            print(f"{kind.__name__}: {len(first)} sets, {values} values compared, {len(lines)} differences", flush=True)
    print("\n".join(differences[:50]))
    print(f"{compared} values, {len(differences)} differences")
    return 1 if differences or not compared else 0


def results(checkout: Path, output: Path, methods: list[str]) -> None:
    """Train with every method, write the demonstration, ask every question; all of it in `output`."""
    python = str(checkout.resolve() / ".venv/bin/python")
    output.mkdir()

    def run(*arguments: str) -> None:
        done = subprocess.run([python, *arguments], cwd=output, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{checkout}: {' '.join(arguments[:6])}: {done.stderr[-2000:]}")

    for method in methods:
        name = ["--method", method, "--run_name", method, "--output_dir", f"runs/{method}"]
        run("-m", "simko.cli.train", *name, *SHORT)
    run("-m", "simko.cli.simko", "demo", "--runs", "demo")
    for folder in ("runs", "demo"):
        (output / f"asked-{folder}").mkdir()
        run("-c", ASK, folder, f"asked-{folder}")


def figures(output: Path) -> dict[str, pa.Table]:
    """What the trainer logged, run by run: a row per logged step."""
    logs = {}
    for path in sorted(output.glob("runs/*/checkpoint-*/trainer_state.json")):
        history = json.loads(path.read_text())["log_history"]
        names = sorted({name for row in history for name in row})
        logs[str(path.relative_to(output))] = pa.table({name: [row.get(name) for row in history] for name in names})
    return logs


def weights(output: Path) -> dict[str, pa.Table]:
    """The bytes of every saved model."""
    paths = sorted(output.glob("runs/*/model/*.safetensors"))
    return {str(p.relative_to(output)): pa.table({"bytes_of_file": [p.read_bytes()]}) for p in paths}


def rows(output: Path) -> dict[str, pa.Table]:
    """Every row that the manifests count, table by table, whatever files it lies in."""
    return {str(path.relative_to(output)): pq.read_table(path) for path in sorted(output.glob("asked-*/rows *"))}


def answers(output: Path) -> dict[str, pa.Table]:
    """The answer of every view and named query."""
    paths = [path for path in sorted(output.glob("asked-*/*.parquet")) if not path.name.startswith("rows ")]
    return {RENAMED.get(path.name, path.name) + f" of {path.parent.name}": pq.read_table(path) for path in paths}


def compare(kind: str, first: dict[str, pa.Table], second: dict[str, pa.Table]) -> tuple[int, list[str]]:
    """How many values were compared, and a line for each column that differs."""
    lines = [f"{kind}: only one side has {name}" for name in sorted(first.keys() ^ second.keys())]
    values = 0
    for name in sorted(first.keys() & second.keys()):
        one, other = ordered(first[name]), ordered(second[name])
        lines += [f"{kind}: {name}: only one side has {c}" for c in sorted({*one.column_names} ^ {*other.column_names})]
        if one.num_rows != other.num_rows:
            lines.append(f"{kind}: {name}: {one.num_rows} rows against {other.num_rows}")
            continue
        for column in sorted({*one.column_names} & {*other.column_names}):
            values += one.num_rows
            if exact(one[column], rounded=kind == "answers") != exact(other[column], rounded=kind == "answers"):
                lines.append(f"{kind}: {name}: {column} differs")
    return values, lines


def ordered(table: pa.Table) -> pa.Table:
    """Without what a clock says, in an order that does not depend on files."""
    kept = [
        c
        for c in table.column_names
        if c not in CLOCKED and not any(p in c for p in CLOCKED_PARTS if c != "bytes_of_file")
    ]
    table = table.select(kept)
    keys = [
        (c, "ascending") for c in kept if not pa.types.is_nested(table[c].type) and not pa.types.is_null(table[c].type)
    ]
    return table.take(pc.sort_indices(table, sort_keys=keys)) if keys and table.num_rows else table


def exact(column: pa.ChunkedArray, *, rounded: bool) -> list[object]:
    """The values so that equality means the same bits, NaN included; or the same twelve digits."""
    values = column.to_pylist()
    return [(f"{v:.12g}" if rounded else v.hex()) if isinstance(v, float) else repr(v) for v in values]


if __name__ == "__main__":
    sys.exit(main())
