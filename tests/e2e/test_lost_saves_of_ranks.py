"""Two processes of which one cannot write: none waits for ever, and what is lost is said and logged."""

from __future__ import annotations

import os
import re
import resource
import socket
from functools import partial

import forked
import pytest
import simko.store
from commands import SHORT
from simko.store.maintenance.doctor import check
from simko.trainers.engine.checkpoints import newest_whole

OPTIONS = ["--probe", "--run_name", "two", *SHORT, "--per_device_train_batch_size", "16", "--pass_at_k_steps", "0"]
NO_CHECKPOINTS = ["--save_strategy", "no"]
GONE = r"another process of the run is gone.*what was logged is in runs/two, and there is no whole checkpoint"


def launch(folder, limited, room, *options):
    """Both finished processes; of one of them (`limited`) no file can grow beyond so many bytes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    ranks = []
    for rank in range(2):
        settings = shared | {"RANK": rank, "LOCAL_RANK": rank, "ACCELERATE_USE_CPU": "true"}
        environment = os.environ | {name: str(value) for name, value in settings.items()}
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room)) if rank == limited else None
        ranks.append(
            forked.start("simko.cli.train", *OPTIONS, *options, cwd=folder, environment=environment, before=limit)
        )
    return [rank.finish(timeout=120) for rank in ranks]


@pytest.mark.slow
@pytest.mark.parametrize("limited", [0, 1])
def test_a_rank_that_cannot_log_trains_on_and_its_steps_are_in_no_average(limited, tmp_path):
    # The other files that rank 0 saves are larger: where it is the one, the model cannot be saved either
    done = launch(tmp_path, limited, 16_000, *NO_CHECKPOINTS)
    assert "cannot log to runs/two any more" in done[limited].stderr
    assert "cannot log" not in done[1 - limited].stderr
    if limited == 1:
        assert [rank.returncode for rank in done] == [0, 0]
        assert "8 micro-batches NOT logged" in done[0].stdout
    told = f"two: steps 1 to 8: 1 of 2 ranks reported (not rank {limited}); left out of every average"
    (checkup,), _ = check(tmp_path / "runs" / "two")
    assert checkup.findings == ["attempt 1: 8 micro-batches were not logged", told]
    with simko.store.open(tmp_path / "runs" / "two") as connection:
        assert connection.sql("SELECT status, last_step, dropped, incomplete_steps FROM runs").fetchall() == [
            ("finished" if limited else "failed", 8, 8, 8)
        ]
        assert connection.sql("SELECT DISTINCT complete, lambda_k IS NULL FROM lambda_k").fetchall() == [(False, True)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limited", "room", "options", "line"),
    [
        (0, 217_000, [], "cannot save the checkpoint of step 4 in runs/two/checkpoint-4: File too large"),
        (1, 9_000, [], "cannot save the checkpoint of step 4 in runs/two/checkpoint-4: a file there cannot be written"),
        (0, 217_000, NO_CHECKPOINTS, "cannot save the model in runs/two/model: File too large"),
        (1, 1_000, [], "cannot write to runs/two "),
    ],
    ids=["a checkpoint", "its random state", "the model", "the log from the start"],
)
def test_a_rank_that_cannot_save_ends_both_in_one_line(limited, room, options, line, tmp_path):
    done = launch(tmp_path, limited, room, *options)
    assert [rank.returncode for rank in done] == [2, 2]
    assert not any("Traceback" in rank.stderr for rank in done)
    assert done[limited].stderr.splitlines()[-1].startswith(f"simko-train: {line}")
    assert re.match(f"simko-train: {GONE}", done[1 - limited].stderr.splitlines()[-1])
    run = tmp_path / "runs" / "two"
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT status FROM runs").fetchall() == [("failed",)]
    assert newest_whole(run)[0] is None
