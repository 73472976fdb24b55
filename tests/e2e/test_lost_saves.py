"""`simko-train` that cannot save what it has trained says so in one line, and its log stays readable."""

from __future__ import annotations

import resource
import shutil
from functools import partial

import pytest
import simko.store
from commands import SHORT, command
from effort import some

MODEL, OPTIMIZER = 434_000, 881_000
"""Bytes of the largest files that are saved, about; the files of the log are far smaller."""
CHECKPOINT = "cannot save the checkpoint of step 4 in runs/full/checkpoint-4"


def read(folder):
    with simko.store.open(folder) as connection:
        return connection.execute("SELECT status, last_step, dropped FROM runs").fetchall()


@pytest.mark.parametrize(
    ("room", "options", "line", "last_step"),
    some(
        [
            (MODEL // 2, [], f"{CHECKPOINT}: File too large", 4),
            (
                (MODEL + OPTIMIZER) // 2,
                [],
                f"{CHECKPOINT}: a file there cannot be written to its end",
                4,
            ),
            (MODEL // 2, ["--save_strategy", "no"], "cannot save the model in runs/full/model: File too large", 8),
        ],
        2,
    ),
)
def test_a_full_disk_is_told_in_one_line(tmp_path, room, options, line, last_step):
    done = command(
        "train",
        *("--probe", "--run_name", "full", *SHORT, "--pass_at_k_steps", "0", *options),
        cwd=tmp_path,
        before=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room)),
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"simko-train: {line}; what was logged is in runs/full and stays readable; ")
    assert "there is no whole checkpoint to continue from" in said
    assert "run folder:" not in done.stdout  # the summary of a run that ended well
    assert read(tmp_path / "runs" / "full") == [("failed", last_step, 0)]


def test_what_can_be_continued_is_named_and_can_be(trained, tmp_path):
    run = tmp_path / "runs" / "first"
    shutil.copytree(trained[0] / "runs" / "first", run)
    shutil.rmtree(run / "model")
    (run / "model").write_text("a file in the way")
    again = ("train", "--resume", "runs/first")
    done = command(*again, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith("simko-train: cannot save the model in runs/first/model: File exists; ")
    assert said.endswith("continue from step 8: simko-train --resume runs/first")
    (run / "model").unlink()
    done = command(*again, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (run / "model" / "model.safetensors").is_file()
