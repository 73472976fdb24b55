"""The command: verl's own configuration composed with what it adds, and every mistake one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from simko.store.errors import SimkoError, UsageError
from simko.trainers.verl.launch import check, read
from simko.trainers.verl.settings import Settings

MODEL = ("data.train_files=train.parquet", "data.val_files=test.parquet", "actor_rollout_ref.model.path=ORG/MODEL")


def test_the_workers_get_what_was_asked_for(tmp_path):
    run = tmp_path / "it's, a {run} \\ of mine"
    launch = read(["--run", str(run), "--method", "simko", "--simko_alpha", "0.02", "--simko_k", "4", "--", *MODEL])
    config = check(launch)
    environment = OmegaConf.to_container(config.ray_kwargs.ray_init.runtime_env.env_vars)
    assert environment == launch.settings.environment()
    assert environment["VERL_ENGINE_VENDOR"] == "simko"
    settings = Settings.from_environment(environment)
    assert settings == launch.settings
    assert settings.options == {"simko_alpha": 0.02, "simko_k": 4} and settings.run == str(run)
    assert settings.hyperparameters()["simko_tau"] == 0.8
    assert config.algorithm.adv_estimator == "simko"
    assert config.actor_rollout_ref.model.path == "ORG/MODEL"


def test_methods_bring_their_clip_range_and_a_person_has_the_last_word():
    actor = check(read(["--method", "kl_cov", "--", *MODEL])).actor_rollout_ref.actor
    assert min(actor.clip_ratio, actor.clip_ratio_low, actor.clip_ratio_high, actor.clip_ratio_c) == 1e6
    actor = check(read(["--method", "clip_cov", "--", *MODEL])).actor_rollout_ref.actor
    assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.clip_ratio_c) == (1.0, 1.0, 3.0)
    own = ("actor_rollout_ref.actor.clip_ratio_high=0.3", "algorithm.adv_estimator=grpo")
    config = check(read(["--method", "forking_tokens", "--", *MODEL, *own]))
    assert (config.actor_rollout_ref.actor.clip_ratio_low, config.actor_rollout_ref.actor.clip_ratio_high) == (0.2, 0.3)
    assert config.algorithm.adv_estimator == "grpo"
    assert check(read(["--", *MODEL])).algorithm.adv_estimator == "grpo"


def test_hydra_keeps_settings_of_a_running_cluster():
    own = "+ray_kwargs.ray_init.runtime_env.env_vars.MINE=1"
    environment = check(read(["--", *MODEL, own])).ray_kwargs.ray_init.runtime_env.env_vars
    assert sorted(environment) == ["MINE", "SIMKO_VERL", "VERL_ENGINE_VENDOR"]


def test_what_verl_merges_reaches_ray(tmp_path, monkeypatch):
    """As `run_ppo` does it: its own variables and ours in one runtime environment."""
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    launch = read(["--run", str(tmp_path / "run"), "--", *MODEL])
    for name, value in launch.settings.environment().items():
        monkeypatch.setenv(name, value)
    config = check(launch)
    merged = OmegaConf.merge(get_ppo_ray_runtime_env(config), config.ray_kwargs.ray_init.runtime_env)
    variables = OmegaConf.to_container(merged)["env_vars"]
    assert json.loads(variables["SIMKO_VERL"])["run"] == str(tmp_path / "run")
    assert "NCCL_DEBUG" in variables or "NCCL_DEBUG" in os.environ


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "simkoo"], "did you mean simko?"),
        (["--method", "dapo"], "clip_ratio_high=0.28"),
        (["--simko_alpha", "0.1"], "belongs to --method simko"),
        (["--method", "simko", "--simko_alpha", "2"], "at most 1"),
        (["--method", "simko", "--simko_k", "1.5"], "whole number"),
        (["--probe_k", "0"], "at least 1"),
        (["--probe_response_fraction", "0"], "(0, 1]"),
        (["--probe_precision", "float16"], "bfloat16"),
        (["--prob_k", "3"], "unrecognized arguments"),
        (["--", "--config-name=other"], "no override"),
        (["--", "trainer"], "no override"),
        (["--", "actor_rollout_ref.actor.stratgy=fsdp2"], "verl does not take"),
        (["--", "actor_rollout_ref.actor.strategy=megatron"], "fsdp2"),
        (["--", "actor_rollout_ref.model.use_fused_kernels=True"], "use_fused_kernels=False"),
        (["--", "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2"], "size=1"),
        (["--method", "pkpo", "--", "algorithm.adv_estimator=gae"], "adv_estimator=gae"),
        (["--method", "simko", "--", "algorithm.use_kl_in_reward=True"], "use_kl_loss"),
        (
            ["--run", "new", "--", "trainer.use_v1=False", "actor_rollout_ref.actor.ppo_epochs=2"],
            "ppo_epochs=2",
        ),
    ],
)
def test_mistakes_are_named(arguments, message):
    arguments = [*arguments, *([] if "--" in arguments else ["--"]), *MODEL]
    with pytest.raises(SimkoError) as wrong:
        check(read(arguments))
    assert message in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_group_methods_need_our_estimator():
    with pytest.raises(UsageError, match="simko"):
        check(read(["--method", "nsr", "--", *MODEL, "algorithm.adv_estimator=grpo"]))


def test_a_folder_that_holds_a_run_is_refused_unless_resumed(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(SimkoError, match="--resume"):
        read(["--run", str(tmp_path), "--", *MODEL])
    assert read(["--run", str(tmp_path), "--resume", "--", *MODEL]).settings.resume


def test_the_command_ends_with_exit_code_2_and_one_line():
    command = [sys.executable, "-m", "simko.trainers.verl", "--method", "simkoo"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "did you mean simko?" in done.stderr
