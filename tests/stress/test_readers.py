"""Readers while a writer appends and a compactor merges and collects: no failed query, no part of a step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from simko.dashboard.mirror import Mirror

WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import numpy as np
from batches import random_batch
from simko.store import Recorder
from simko.store.layout.run import create_or_resume
run, end = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2])
create_or_resume(run, {"run": run.name, "probe": {"k": 4}}, resume=False)
rng, step = np.random.default_rng(0), 0
with Recorder(run, k=4, attempt=1, flush_seconds=0) as recorder:
    while time.monotonic() < end:
        step += 1
        for first in (0, 6, 12):  # a step is three batches of six responses
            recorder.put(random_batch(step, rng, first=first))
        recorder.end_step(step)
        time.sleep(0.01)
print(step)
"""
COMPACTOR = """
import sys, time
from pathlib import Path
from simko.store.maintenance.compaction import compact
from simko.store.errors import SimkoError
from simko.store.maintenance.garbage import collect
run, end, merged = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    try:
        merged += compact(run).replaced
        collect(run, grace=float(sys.argv[3]))
    except SimkoError:
        pass  # not there yet
    time.sleep(0.2)
print(merged)
"""
# On a busy machine a question may take longer than replaced files are kept: then, and only then, may one be gone.
ALLOWED = "time.monotonic() - began > float(sys.argv[3]) - 1"
# What anyone can do without this package: the rule of docs/schema.md in plain DuckDB.
FOREIGN = """
import json, sys, time
from pathlib import Path
import duckdb
run, end, asked = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0
def files(table):
    found, replaced = {}, set()
    for manifest in sorted(run.glob("manifest/*.jsonl")):
        for line in manifest.read_text().splitlines(keepends=True):
            if line.endswith("\\n"):
                entry = json.loads(line)
                if entry["kind"] in ("file", "merge") and entry["table"] == table:
                    found[entry["path"]] = None
                    replaced |= set(entry.get("replaces", ()))
    return [str(run / path) for path in found if path not in replaced]
last = 0
while time.monotonic() < end:
    began, tokens, rollups = time.monotonic(), files("tokens"), files("rollups")
    if not rollups:
        continue
    try:
        with duckdb.connect() as connection:
            rows = connection.execute(
                "SELECT step, count(DISTINCT response_id) FROM read_parquet($1) GROUP BY step", [tokens]
            ).fetchall()
            ((steps, counted),) = connection.execute(
                "SELECT max(step), sum(n_tokens) FROM read_parquet($1, union_by_name = true)", [rollups]
            ).fetchall()
    except duckdb.IOException:
        if ALLOWED:
            continue
        raise
    assert all(responses == 18 for _, responses in rows), rows
    assert steps >= last
    last = steps
    asked += 1
print(asked)
"""
QUERY = """
import sys, time
import duckdb
import simko.store
run, end, asked, last = sys.argv[1], time.monotonic() + float(sys.argv[2]), 0, 0
while time.monotonic() < end:
    began = time.monotonic()
    try:
        with simko.store.open(run) as connection:
            counts = "SELECT step, count(DISTINCT response_id), count(*) FROM tokens GROUP BY step"
            rows = connection.execute(counts).fetchall()
            sums = dict(connection.execute("SELECT step, sum(n_tokens) FROM rollups GROUP BY step").fetchall())
    except duckdb.IOException:
        if ALLOWED:
            continue
        raise
    for step, responses, tokens in rows:
        assert responses == 18, (step, responses)
        assert step not in sums or sums[step] == tokens, (step, tokens, sums[step])
    assert len(sums) >= last
    last = len(sums)
    asked += 1
print(asked)
"""


def watch(tmp_path, seconds, grace):
    """Let them all work for some seconds; steps written, files merged, questions asked by each reader.

    Replaced files are kept for `grace` seconds.
    """
    run = tmp_path / "runs" / "live"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}

    def start(script, *arguments):
        command = [sys.executable, "-c", script.replace("ALLOWED", ALLOWED), str(run), *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    processes = {"writer": start(WRITER, seconds, Path(__file__).parents[1])}
    while not list(run.glob("rollups/*.parquet")):
        assert processes["writer"].poll() is None, processes["writer"].stderr.read()
        time.sleep(0.02)
    processes |= {
        name: start(script, seconds - 1, grace)
        for name, script in (("compactor", COMPACTOR), ("foreign", FOREIGN), ("query", QUERY))
    }
    mirror, refreshed, last = Mirror(tmp_path / "runs"), 0, 0
    while processes["writer"].poll() is None:
        mirror.refresh()
        assert mirror.problems == []
        with mirror.snapshot() as cursor:
            first = cursor.execute("SELECT step, sum(n_responses) FROM rollups GROUP BY step").fetchall()
            again = cursor.execute("SELECT count(DISTINCT step) FROM rollups").fetchall()
        assert again == [(len(first),)]
        assert all(responses == 18 for _, responses in first)
        assert len(first) >= last
        last, refreshed = len(first), refreshed + 1
    counts = {}
    for name, process in processes.items():
        out, error = process.communicate()
        assert process.returncode == 0, f"{name}: {error[-2000:]}"
        counts[name] = int(out)
    mirror.refresh()
    assert mirror.frame("SELECT count(DISTINCT step) AS n FROM rollups").n[0] == counts["writer"]
    return counts | {"dashboard": refreshed}


def test_for_seconds(tmp_path):
    counts = watch(tmp_path, 3.5, grace=2)
    assert min(counts.values()) > 0 and counts["compactor"] > 10


@pytest.mark.slow
def test_for_minutes(tmp_path):
    print(watch(tmp_path, 180, grace=5))
