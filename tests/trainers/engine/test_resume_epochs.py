"""A run continued beyond its first epoch goes through the same prompts, to the same rows, as one not interrupted."""

import numpy as np
import pytest
import torch
from simko.probes import Probe
from simko.trainers.engine.epoch_order import EpochOrder
from simko.trainers.engine.trainer import RankedGRPOTrainer
from tiny import config, first_is_even, llama, prompts, tokenizer
from trl.trainer.utils import RepeatSampler

STEPS_OF_AN_EPOCH = 4
"""16 prompts, 8 of them a rollout batch, which two optimizer steps train on."""


class Rows:
    """A recorder that keeps the token rows and the prompts."""

    def __init__(self):
        self.batches, self.columns = {}, {}

    def put(self, batch):
        made = batch()
        self.batches.setdefault(made.step, []).append(made)

    def put_responses(self, columns):
        self.columns[columns["step"][0]] = columns

    def end_step(self, step, capture_ms=None, device_ms=None): ...
    def flush(self): ...
    def close(self, status): ...


def train(folder, checkpoint=None, steps=2 * STEPS_OF_AN_EPOCH):
    trainer = RankedGRPOTrainer(
        llama(),
        first_is_even,
        config(folder, max_steps=steps, save_strategy="steps", save_steps=2, learning_rate=0.01),
        prompts(),
        processing_class=tokenizer(),
    )
    rows = Rows()
    with Probe.attach(trainer.model, folder / "run", k=3, recorder=rows) as probe:
        trainer.attach(probe)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        assert probe.errors == 0
    return rows, trainer


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    rows, trainer = train(folder)
    return folder, rows, dict(trainer.model.state_dict())


@pytest.mark.parametrize("stopped_at", [2, STEPS_OF_AN_EPOCH, STEPS_OF_AN_EPOCH + 2])
def test_the_same_prompts_and_rows_after_a_resume(straight, tmp_path, stopped_at):
    folder, expected, weights = straight
    rows, trainer = train(tmp_path, folder / f"checkpoint-{stopped_at}")
    assert sorted(rows.columns) == [step for step in expected.columns if step > stopped_at] != []
    for step, columns in rows.columns.items():
        assert columns["prompt_id"] == expected.columns[step]["prompt_id"]
        assert columns["completion"] == expected.columns[step]["completion"]
    assert sorted(rows.batches) == list(range(stopped_at + 1, 2 * STEPS_OF_AN_EPOCH + 1))
    for step, batches in rows.batches.items():
        for ours, theirs in zip(batches, expected.batches[step], strict=True):
            for name in ("response_id", "mask", "token_id", "rank", "top_id"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            np.testing.assert_allclose(ours.logprob, theirs.logprob, atol=1e-6)
    for name, value in trainer.model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-6, atol=1e-7)


def test_epochs_differ_and_each_holds_every_prompt_once(straight):
    _, rows, _ = straight
    steps = sorted(rows.columns)
    first, second = (
        [prompt for step in steps[half : half + 2] for prompt in rows.columns[step]["prompt_id"][::4]]
        for half in (0, 2)
    )
    assert first != second and sorted(first) == sorted(second) == sorted(str(i) for i in range(16))


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_order_of_an_epoch_is_trls_own(shuffle):
    settings = {"mini_repeat_count": 2, "batch_size": 3, "repeat_count": 2, "shuffle": shuffle, "seed": 5}
    stock = RepeatSampler(range(11), **settings)
    ours = EpochOrder.like(RepeatSampler(range(11), **settings))
    orders = [list(stock) for _ in range(4)]
    for epoch in (2, 0, 3, 3, 1):
        ours.epoch = epoch
        assert list(ours) == orders[epoch]
    assert len(ours) == len(stock)
