"""A training whose figures are no numbers any more says so and stops, or goes on by choice."""

from __future__ import annotations

import pytest
import simko.store
import torch
from simko.cli.train import DIVERGED
from simko.cli.train import main as train
from simko.trainers.engine import RankedGRPOTrainer
from simko.trainers.engine.nan_guard import Diverged, NaNGuard
from tiny import config, first_is_even, prompts


def trainer_of(folder, llama, tokenizer, on_nan, **overrides):
    trainer = RankedGRPOTrainer(
        llama(), first_is_even, config(folder, **overrides), prompts(), processing_class=tokenizer
    )
    trainer.watch_for_nan(NaNGuard(on_nan, trainer.accelerator))
    return trainer


def test_a_loss_that_is_nan_stops_at_its_step(tiny_llama, tiny_tokenizer, tmp_path):
    trainer = trainer_of(tmp_path, tiny_llama, tiny_tokenizer, "stop")
    guard = next(c for c in trainer.callback_handler.callbacks if isinstance(c, NaNGuard))
    see, count = guard.see, []

    def nan_at_the_third(loss):
        count.append(loss)
        see(loss * torch.nan if len(count) == 3 else loss)

    guard.see = nan_at_the_third
    with pytest.raises(Diverged, match="step 3: the loss is NaN or infinite"):
        trainer.train()
    assert trainer.state.global_step == 3


def test_a_logged_figure_that_is_nan_stops_too(tiny_llama, tiny_tokenizer, tmp_path):
    trainer = trainer_of(tmp_path, tiny_llama, tiny_tokenizer, "stop")
    trainer.train()
    with pytest.raises(Diverged, match=r"step 4: pass@1 is NaN"):
        trainer.log_figures({"simko/pass_at_1": float("nan")})
    with pytest.raises(Diverged, match=r"step 4: Λ\(2\) is NaN"):
        trainer.log_figures({"simko/lambda_2": float("-inf")})
    trainer.log_figures({"clip_ratio/low_min": float("nan")})  # of no token: no divergence


def test_a_warning_is_given_once_and_training_goes_on(tiny_llama, tiny_tokenizer, tmp_path, capsys):
    trainer = trainer_of(tmp_path, tiny_llama, tiny_tokenizer, "warn")
    guard = next(c for c in trainer.callback_handler.callbacks if isinstance(c, NaNGuard))
    see = guard.see
    guard.see = lambda loss: see(loss * torch.inf)
    trainer.train()
    assert trainer.state.global_step == 4
    assert capsys.readouterr().err.count("the loss is NaN or infinite; training goes on (--on_nan warn)") == 1


@pytest.mark.parametrize("rollout_steps", ["1", "4"])
def test_the_command_says_when_and_the_run_keeps_it(rollout_steps, tmp_path, monkeypatch, capsys):
    """A step of 10³⁰ makes the policy's weights overflow."""
    monkeypatch.chdir(tmp_path)
    short = ["--max_steps", "8", "--pass_at_k_steps", "0", "--per_device_train_batch_size", "32"]
    short += ["--steps_per_generation", rollout_steps]
    assert train(["--probe", "--learning_rate", "1e30", "--run_name", "far", *short]) == DIVERGED
    captured = capsys.readouterr()
    assert captured.err.count("Traceback") == 0 and "NaN or infinite: stopped" in captured.err
    assert "simko-train: step " in captured.err and "--on_nan warn" in captured.err
    with simko.store.open("runs/far") as connection:
        assert connection.execute("SELECT status FROM runs").fetchall() == [("diverged",)]
