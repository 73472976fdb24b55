"""Λ(k) of the mirror, grown step by step, is that of the store's views, whatever happens to the runs meanwhile."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
from batches import random_batch
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.dashboard.live_tables.lambda_sums import LambdaSums
from simko.dashboard.mirror import Mirror
from simko.store import Catalog, Recorder
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume
from simko.store.maintenance.compaction import compact
from simko.store.maintenance.garbage import collect

RANKS = 2
FIGURES = "SELECT * FROM {} ORDER BY run, step, verdict, k"
OPERATIONS = ("step", "step", "half a step", "late", "resume", "compact", "gc", "torn", "anew", "wide")


class Runs:
    """A folder of runs to which things happen: `world`, of two processes, and those that come later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(0)
        self.attempt = self.last = 0
        self.late: list[int] = []
        self.writers: list[Recorder] = []
        self.resume()

    @property
    def run(self) -> Path:
        return self.folder / "world"

    def resume(self) -> None:
        """Begin an attempt two steps before the last one."""
        self.close()
        create_or_resume(self.run, {"probe": {"k": 4}}, resume=True)
        self.attempt, self.last, self.late = self.attempt + 1, max(0, self.last - 2), []
        about = {"k": 4, "attempt": self.attempt, "world_size": RANKS, "start_step": self.last}
        self.writers = [Recorder(self.run, rank=rank, **about) for rank in range(RANKS)]

    def put(self, rank: int, step: int) -> None:
        self.writers[rank].put(random_batch(step, self.rng, first=10 * rank))
        self.writers[rank].end_step(step)
        self.writers[rank].flush()

    def happen(self, what: str) -> None:
        if what in ("step", "half a step"):
            self.last += 1
            self.put(0, self.last)
            if what == "step":
                self.put(1, self.last)
            else:
                self.late.append(self.last)
        elif what == "late":
            while self.late:
                self.put(1, self.late.pop(0))
        elif what == "resume":
            self.resume()
        elif what == "compact":
            compact(self.run)
        elif what == "gc":
            collect(self.run, grace=-1)
        elif what == "torn":
            self.last += 1
            self.put(0, self.last)
            self.put(1, self.last)
            last = [part for part in read_manifest(self.run).parts if part.table == "rollups"][-1]
            last.path.write_bytes(last.path.read_bytes()[:-20])
        elif what == "anew":
            self.close()
            shutil.rmtree(self.run)
            self.attempt = self.last = 0
            self.resume()
        else:
            self.other(6)

    def other(self, k: int) -> None:
        """A whole run that logs more ranks."""
        run = self.folder / f"other-{len(list(self.folder.iterdir()))}"
        create_or_resume(run, {"probe": {"k": k}}, resume=True)
        with Recorder(run, k=k, attempt=1) as recorder:
            for step in (1, 2):
                recorder.put(random_batch(step, self.rng, k=k))
                recorder.end_step(step)

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


def assert_same(some: list[tuple], others: list[tuple]) -> None:
    """Equal but for the last digit: the order in which doubles are added up is not the same in two calls."""
    assert [row[:4] for row in some] == [row[:4] for row in others]
    for one, other in zip(some, others, strict=True):
        for a, b in zip(one[4:], other[4:], strict=True):
            assert a == b or math.isclose(a, b, rel_tol=1e-14), (one, other)


def assert_lambda_is_the_views(mirror: Mirror, folder: Path) -> None:
    with mirror.snapshot() as con:
        sums, asked_here, kept = (
            con.execute(FIGURES.format(view)).fetchall()
            for view in ("lambda_sums", "lambda_sums_of_rollups", "lambda_k")
        )
    assert_same(sums, asked_here)
    assert_same(kept, Catalog(folder).connection.execute(FIGURES.format("lambda_k")).fetchall())


@settings(max_examples=effort(8), deadline=None)
@given(operations=st.lists(st.sampled_from(OPERATIONS), min_size=3, max_size=10))
def test_it_follows_whatever_happens(operations):
    with tempfile.TemporaryDirectory() as folder:
        runs, mirror = Runs(Path(folder)), Mirror(Path(folder))
        try:
            for what in ("step", *operations, "step"):
                runs.happen(what)
                mirror.refresh()
            assert_lambda_is_the_views(mirror, Path(folder))
        finally:
            runs.close()


def test_a_new_step_is_added_up_without_the_view(tmp_path, monkeypatch):
    runs, mirror = Runs(tmp_path), Mirror(tmp_path)
    asked = []
    fill = LambdaSums._fill
    monkeypatch.setattr(LambdaSums, "_fill", lambda self, *where: asked.append(where) or fill(self, *where))
    for what in ("step", "step", "half a step", "half a step", "late", "step"):
        runs.happen(what)
        mirror.refresh()
    runs.close()
    assert len(asked) <= 2  # when the run was new, and when it had written its first roll-up
    assert_lambda_is_the_views(mirror, tmp_path)
