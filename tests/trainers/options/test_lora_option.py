"""`--lora_r`: trains adapters alone, with the probe, and goes on from their checkpoint."""

from __future__ import annotations

import json

import pytest
import simko.store
from simko.trainers.options.parsing import parse
from simko.trainers.train import train

pytest.importorskip("peft")
OPTIONS = [
    "--lora_r",
    "2",
    "--probe",
    "--pass_at_k_steps",
    "0",
    "--per_device_train_batch_size",
    "32",
    "--save_steps",
    "2",
]


def test_adapters_are_trained_logged_saved_and_resumed(tmp_path):
    run = tmp_path / "lora"
    assert train(*parse([*OPTIONS, "--max_steps", "2", "--output_dir", str(run)])).status == "finished"
    saved = run / "model"
    assert json.loads((saved / "adapter_config.json").read_text())["lora_alpha"] == 4
    assert not (saved / "model.safetensors").exists()
    assert train(*parse(["--resume", str(run), "--max_steps", "4"])).status == "finished"
    steps = simko.store.open(run).sql("SELECT step FROM steps WHERE complete ORDER BY step").fetchall()
    assert steps == [(1,), (2,), (3,), (4,)]
