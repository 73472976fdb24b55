"""Which checkpoint a run is continued from, when checkpoints are made, and what a rewind leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
import tiny
import torch
from safetensors.torch import save_file
from simko.probes.probe import Probe
from simko.store import open as open_runs
from simko.store.errors import SimkoError
from simko.trainers.engine.checkpoints import (
    checkpoint_damage,
    checkpoint_to_resume,
    checkpoints,
    newest_whole,
    set_aside_newer,
    split_resume,
    without_random_state,
)
from simko.trainers.engine.ending import interrupted_by_sigterm
from simko.trainers.engine.trainer import RankedGRPOTrainer
from simko.trainers.options.parsing import as_options, parse


def make_checkpoint(run, step):
    """What the trainer writes, in its order."""
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"weight": torch.zeros(7, 3), "bias": torch.ones(3)}, folder / "model.safetensors")
    torch.save({"step": step}, folder / "optimizer.pt")
    torch.save({"cpu": torch.get_rng_state()}, folder / "rng_state_1.pth")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    for step in (4, 8, 12):
        make_checkpoint(tmp_path, step)
    return tmp_path


def test_every_file_of_a_checkpoint_cut_anywhere_is_found_out(run):
    assert checkpoint_damage(run / "checkpoint-12") is None
    for path in sorted((run / "checkpoint-12").iterdir()):
        whole = path.read_bytes()
        for length in sorted({0, 5, len(whole) // 2, len(whole) - 1}):
            path.write_bytes(whole[:length])
            assert path.name in checkpoint_damage(run / "checkpoint-12"), (path.name, length)
            result, lines = newest_whole(run)
            assert result.name == "checkpoint-8" and len(lines) == 1 and path.name in lines[0]
        path.write_bytes(whole)
    (run / "checkpoint-12" / "trainer_state.json").unlink()
    assert checkpoint_damage(run / "checkpoint-12") == "no trainer_state.json"


def test_the_newest_whole_one_is_taken_or_the_one_named(run):
    (run / "checkpoint-12" / "trainer_state.json").unlink()
    result, lines = checkpoint_to_resume(str(run))
    assert (result.name, len(lines)) == ("checkpoint-8", 1)
    assert checkpoint_to_resume(str(run / "checkpoint-4")) == (run / "checkpoint-4", [])
    with pytest.raises(
        SimkoError, match=r"checkpoint-12.*no trainer_state.json.*there are checkpoint-4, checkpoint-8$"
    ):
        checkpoint_to_resume(str(run / "checkpoint-12"))
    with pytest.raises(SimkoError, match=r"checkpoint-6.*not there.*there are checkpoint-4, checkpoint-8$"):
        checkpoint_to_resume(str(run / "checkpoint-6"))
    for path in checkpoints(run):
        (path / "trainer_state.json").unlink(missing_ok=True)
    with pytest.raises(SimkoError, match=r"no whole checkpoint.*checkpoint-12 is not whole.*checkpoint-4 is not whole"):
        checkpoint_to_resume(str(run))


def test_newer_checkpoints_are_set_aside_and_kept(run):
    (run / "checkpoint-best").mkdir()
    moved = set_aside_newer(run / "checkpoint-4")
    assert [path.name for path in moved] == ["checkpoint-8", "checkpoint-12"]
    assert [path.name for path in checkpoints(run)] == ["checkpoint-4"]
    make_checkpoint(run, 8)
    assert [path.name for path in set_aside_newer(run / "checkpoint-4")] == ["checkpoint-8-2"]
    assert all(checkpoint_damage(path) is None for path in (run / "rewound").iterdir())
    assert set_aside_newer(run / "checkpoint-4") == []


def test_a_checkpoint_named_on_the_command_line_is_its_runs(tmp_path):
    run, config = parse(["--max_steps", "12", "--output_dir", str(tmp_path)])
    (tmp_path / "run.json").write_text(json.dumps({"config": as_options(run, config)}))
    make_checkpoint(tmp_path, 4)
    given = str(tmp_path / "checkpoint-4") + "/"
    again, again_config = parse(["--resume", given])
    assert (again_config.output_dir, again_config.max_steps) == (str(tmp_path), 12)
    assert split_resume(again.resume) == (tmp_path, tmp_path / "checkpoint-4")


def test_a_process_without_its_random_state_is_told(run):
    checkpoint = run / "checkpoint-4"
    for path in checkpoint.glob("rng_state*"):
        path.unlink()
    assert "has no rng_state.pth: from step 4 on other responses" in without_random_state(checkpoint, 1)
    for rank in range(2):
        told = f"has no {', '.join(f'rng_state_{r}.pth' for r in range(rank, 2))}: "
        assert told in without_random_state(checkpoint, 2)
        torch.save({}, checkpoint / f"rng_state_{rank}.pth")
    assert without_random_state(checkpoint, 2) is None
    assert "rng_state_2.pth" in without_random_state(checkpoint, 3)


def train(folder, *, resume=None, start_step=0, **options):
    settings = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 20, **options}
    arguments = tiny.config(folder, **settings)
    trainer = RankedGRPOTrainer(
        tiny.llama(), tiny.even_share, arguments, tiny.prompts(), processing_class=tiny.tokenizer()
    )
    with Probe.attach(
        trainer.model, folder / "run", k=3, tau=0.5, resume=resume is not None, start_step=start_step
    ) as probe:
        trainer.attach(probe)
        trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.parametrize(
    ("options", "saved"), [({}, [2, 4, 5]), ({"num_iterations": 2}, [4, 5]), ({"save_steps": 3}, [4, 5])]
)
def test_checkpoints_wait_for_the_end_of_a_rollout_batch(tmp_path, options, saved):
    train(tmp_path, max_steps=5, **options)
    assert sorted(int(path.name[11:]) for path in tmp_path.glob("checkpoint-*")) == saved


def test_the_log_up_to_a_checkpoint_is_on_disk_before_it(tmp_path):
    seen = {}

    class Looking(RankedGRPOTrainer):
        def save_model(self, *args, **kwargs):
            with open_runs(tmp_path / "run") as connection:
                seen[self.state.global_step] = connection.sql("SELECT max(step) FROM steps").fetchall()[0][0]
            super().save_model(*args, **kwargs)

    arguments = tiny.config(tmp_path, save_strategy="steps", save_steps=2)
    trainer = Looking(tiny.llama(), tiny.even_share, arguments, tiny.prompts(), processing_class=tiny.tokenizer())
    with Probe.attach(trainer.model, tmp_path / "run", k=3) as probe:
        trainer.attach(probe)
        trainer.train()
    assert seen == {2: 2, 4: 4}


def test_a_run_prolonged_from_within_a_rollout_batch_keeps_the_rhythm(tmp_path):
    train(tmp_path, max_steps=5)  # two steps a rollout batch: the third one has a step to go
    shutil.rmtree(tmp_path / "checkpoint-4")
    train(tmp_path, max_steps=8, resume=str(tmp_path / "checkpoint-5"), start_step=5)
    with open_runs(tmp_path / "run") as connection:
        sampled = connection.sql(
            "SELECT attempt, step, generation, count(*) FROM responses GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        trained = connection.sql("SELECT step, attempt, complete FROM steps ORDER BY step").fetchall()
        unknown = connection.sql(
            "SELECT count(*) FROM tokens ANTI JOIN responses USING (attempt, response_id)"
        ).fetchall()
    assert sampled == [(1, 1, 0, 32), (1, 3, 1, 32), (1, 5, 2, 32), (2, 6, 2, 32), (2, 7, 3, 32)]
    assert trained == [(step, 1 + (step > 5), True) for step in range(1, 9)]
    assert unknown == [(0,)]


def test_a_launcher_that_ends_a_run_twice_does_not_tear_the_closing_of_its_log():
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt), interrupted_by_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # by default the end of this process
    finally:
        signal.signal(signal.SIGTERM, before)
