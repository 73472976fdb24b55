"""Every rollout batch has an index of its own, however its micro-batches and the optimizer's steps fall together."""

from __future__ import annotations

import math

import pytest
from simko.probes import Probe
from simko.trainers.engine.micro_batches import micro_batches_done
from simko.trainers.engine.trainer import RankedGRPOTrainer
from tiny import config, first_is_even, llama, prompts, tokenizer

PER_EPOCH = 4  # rollout batches, of 4 prompts


class Sampled:
    """A recorder that keeps what was sampled, and which responses each micro-batch trained on."""

    def __init__(self):
        self.columns, self.trained = [], []

    def put(self, batch):
        made = batch()
        self.trained.append((made.step, set(made.response_id.tolist())))

    def put_responses(self, columns):
        self.columns.append(columns)

    def end_step(self, step, capture_ms=None, device_ms=None): ...
    def flush(self): ...
    def close(self, status): ...


def train(folder, checkpoint=None, *, saves="no", steps, accumulation, parts, passes):
    arguments = config(
        folder,
        max_steps=steps,
        per_device_train_batch_size=16 // parts,
        steps_per_generation=parts,
        gradient_accumulation_steps=accumulation,
        num_iterations=passes,
        save_strategy=saves,
        save_steps=1,
        learning_rate=0.01,
    )
    trainer = RankedGRPOTrainer(llama(), first_is_even, arguments, prompts(), processing_class=tokenizer())
    recorder = Sampled()
    with Probe.attach(trainer.model, folder / "run", k=3, recorder=recorder) as probe:
        trainer.attach(probe)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        assert probe.errors == 0
    return recorder


@pytest.mark.parametrize(
    ("accumulation", "parts", "passes"),
    [(2, 1, 1), (3, 2, 1), (3, 1, 2)],
    ids=["two a step", "across steps and a short last step", "passes across steps"],
)
def test_every_rollout_batch_has_an_index_of_its_own(accumulation, parts, passes, tmp_path):
    every = parts * passes
    per_epoch = PER_EPOCH * every
    steps_of_an_epoch = math.ceil(per_epoch / accumulation)
    settings = {"accumulation": accumulation, "parts": parts, "passes": passes}
    recorder = train(tmp_path, steps=steps_of_an_epoch + 1, **settings)
    done = per_epoch + accumulation
    assert [columns["generation"][0] for columns in recorder.columns] == list(range(math.ceil(done / every)))
    sampled = [set(columns["response_id"]) for columns in recorder.columns]
    assert sampled == [set(range(16 * i, 16 * i + 16)) for i in range(len(sampled))]
    steps = [
        min(number % per_epoch // accumulation + 1, steps_of_an_epoch) + number // per_epoch * steps_of_an_epoch
        for number in range(done)
    ]
    assert [step for step, _ in recorder.trained] == steps
    assert [columns["step"][0] for columns in recorder.columns] == steps[::every]
    for number, (_, ids) in enumerate(recorder.trained):
        assert len(ids) == 16 // parts and ids <= sampled[number // every]


def test_a_run_resumed_after_a_short_last_step_of_an_epoch_goes_on_in_the_same_rhythm(tmp_path):
    """An epoch of 8 micro-batches is 3 steps, of 3, 3 and 2; checkpoints wait for the end of a rollout batch."""
    settings = {"accumulation": 3, "parts": 2, "passes": 1}
    straight = train(tmp_path / "straight", saves="steps", steps=6, **settings)
    saved = sorted(int(path.name[11:]) for path in (tmp_path / "straight").glob("checkpoint-*"))
    assert saved == [2, 3, 5, 6]
    resumed = train(tmp_path / "resumed", tmp_path / "straight" / "checkpoint-3", steps=6, **settings)
    assert resumed.columns == [columns for columns in straight.columns if columns["step"][0] > 3] != []
    assert resumed.trained == [pair for pair in straight.trained if pair[0] > 3]


def test_micro_batches_are_counted_over_short_last_steps():
    counted = [micro_batches_done(step, accumulation=3, per_epoch=8) for step in range(8)]
    assert counted == [0, 3, 6, 8, 11, 14, 16, 19]
    assert [micro_batches_done(step, accumulation=4, per_epoch=None) for step in range(3)] == [0, 4, 8]
