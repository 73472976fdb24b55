"""The command line: layers of options, unknown keys, and the help a newcomer reads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from simko.store.errors import SimkoError
from simko.trainers.options.help_text import short_help
from simko.trainers.options.methods import METHODS
from simko.trainers.options.parsing import SimkoConfig, as_options, parse
from simko.trainers.options.recipe_files import recipe


def test_defaults_are_the_built_in_task_with_its_own_recipe():
    run, config = parse([])
    assert (run.task, run.method, run.probe, run.probe_k) == ("countdown", "simko", False, 5)
    assert (run.simko_alpha, run.simko_k, run.simko_tau, run.simko_lambda) == (0.1, 3, 0.5, 1.1)
    assert config.learning_rate == 1.5e-4
    assert config.output_dir.startswith("runs/countdown-simko-")


def test_real_tasks_take_the_papers_values():
    run, config = parse(["--task", "math", "--model", "org/model"])
    assert (run.simko_alpha, run.simko_k, run.simko_tau, run.simko_lambda) == (0.01, 3, 0.8, 1.1)
    assert config.learning_rate == 1e-6
    assert config.max_completion_length == 3072


def test_a_generated_task_has_its_familys_recipe_and_options_as_text_or_in_a_recipe(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("task: reasoning_gym:gcd\ntask_options: {max_numbers: 2, size: 20}\n")
    named = ["--task", "reasoning_gym:gcd", "--task_options", "max_numbers=2,size=20"]
    for arguments, options in (
        (named, "max_numbers=2,size=20"),
        (["--config", str(recipe)], {"max_numbers": 2, "size": 20}),
    ):
        run, config = parse(arguments)
        assert (run.task, run.task_options, run.prompt_style) == ("reasoning_gym:gcd", options, "few_shot")
        assert config.run_name.startswith("reasoning_gym-gcd-simko-") and config.max_completion_length == 64
        assert as_options(run, config)["task_options"] == options


def test_logic_takes_the_papers_values():
    run, config = parse(["--task", "synlogic", "--model", "org/model"])
    assert (run.simko_alpha, run.simko_lambda, config.num_generations, config.epsilon_high) == (0.005, 1.05, 16, 0.28)


def test_later_layers_win_and_dashes_are_underscores(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("max_steps: 7\nsimko_alpha: 0.3\nrun_name: named\nprobe: true\n")
    for spelling in (["--config", str(recipe)], [f"--config={recipe}"]):
        run, config = parse([*spelling, "--max-steps", "9", "--simko_k=2"])
        assert (config.max_steps, run.simko_alpha, run.simko_k, run.probe) == (9, 0.3, 2, True)
        assert config.output_dir == "runs/named"


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "..", ".hidden", "-x", "a\x1b[2J", "a\nb", "x" * 300])
def test_a_runs_name_leads_nowhere_else(name):
    with pytest.raises(SimkoError, match="invalid run name"):
        parse([f"--run_name={name}"])


def test_a_methods_own_settings_are_defaults():
    _, config = parse(["--method", "gspo"])
    assert (config.importance_sampling_level, config.epsilon, config.epsilon_high) == ("sequence", 3e-4, 4e-4)
    _, config = parse(["--method", "gspo", "--epsilon", "0.1"])
    assert (config.epsilon, config.epsilon_high) == (0.1, 4e-4)
    assert parse(["--method", "entropy_loss"])[1].entropy_coef == 0.01
    assert parse(["--method", "dr_grpo"])[1].scale_rewards == "none"


def test_the_help_names_every_method():
    assert all(name in short_help() for name in METHODS)


def test_output_dir_is_the_runs_folder():
    assert parse(["--output_dir", "elsewhere/x", "--run_name", "n"])[1].output_dir == "elsewhere/x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--simko_alpa", "0.1"], "did you mean simko_alpha"),
        (["--max_step", "3"], "did you mean max_steps"),
        (["--method", "ppo"], "unknown --method ppo; did you mean pkpo"),
        (["--method", "zzz"], "unknown --method zzz; choose from grpo, simko"),
        (["--method", "grpo", "--simko_alpha", "0.2"], "--simko_alpha belongs to --method simko, this run's is grpo"),
        (["--method", "nsr", "--kl_cov_beta=2"], "--kl_cov_beta belongs to --method kl_cov"),
        (["--learning_rate", "fast"], "learning_rate"),
        (["--task", "chess"], "unknown --task chess; choose from countdown, countdown4, gsm8k, gsm8k_math1, "),
        (["--task", "reasoning_gym"], "--task reasoning_gym needs the name of a task"),
        (["--task", "math500"], "unknown --task math500; did you mean math?"),
        (["--prompt_style", "few"], "--prompt_style: there is no few; "),
        (["--model", "org/model"], "need a --task"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--config"], "needs a value"),
        (["--resume", "nowhere"], "no run there"),
        (["--num_generations", "7"], "num_generations"),
        (["stray"], "stray"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_do(arguments, message):
    with pytest.raises(SimkoError, match=message) as caught:
        parse(arguments)
    assert "\n" not in str(caught.value)


def test_unknown_keys_in_a_recipe_are_named_with_the_file(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("simko_apha: 0.3\n")
    with pytest.raises(SimkoError, match=r"simko_apha in .*r.yaml; did you mean simko_alpha"):
        parse(["--config", str(recipe)])
    recipe.write_text("a: [1\n")
    with pytest.raises(SimkoError, match="not valid YAML"):
        parse(["--config", str(recipe)])


def test_a_resumed_run_has_the_options_it_was_started_with(tmp_path):
    run, config = parse(["--max_steps", "12", "--simko_tau", "0.6", "--probe", "--output_dir", str(tmp_path)])
    (tmp_path / "run.json").write_text(json.dumps({"config": as_options(run, config)}))
    again, again_config = parse(["--resume", str(tmp_path), "--max_steps", "20"])
    assert (again.simko_tau, again.probe, again_config.max_steps) == (0.6, True, 20)
    assert again_config.output_dir == str(tmp_path)
    for name in ("per_device_train_batch_size", "steps_per_generation", "run_name", "seed", "adam_beta2"):
        assert getattr(again_config, name) == getattr(config, name)


def test_an_option_set_to_what_trl_would_take_by_itself_is_kept_too(tmp_path):
    """The recipe says otherwise, and would have its way in the resumed run."""
    plain = SimkoConfig(output_dir="x", use_cpu=True)
    flags = []
    for name, value in recipe("countdown").items():
        default = getattr(plain, name, None)
        if isinstance(value, int | float) and isinstance(default, int | float) and default not in (value, -1):
            flags += [f"--{name}", str(default)]
    assert "--per_device_train_batch_size" in flags
    run, config = parse([*flags, "--output_dir", str(tmp_path)])
    (tmp_path / "run.json").write_text(json.dumps({"config": as_options(run, config)}))
    _, again = parse(["--resume", str(tmp_path)])
    for name in flags[::2]:
        assert getattr(again, name[2:]) == getattr(config, name[2:]) == getattr(plain, name[2:]), name


def test_a_run_of_every_method_can_be_resumed_in_spite_of_the_recipes_options_for_others(tmp_path):
    for method in METHODS:
        run, config = parse(["--method", method, "--output_dir", str(tmp_path)])
        (tmp_path / "run.json").write_text(json.dumps({"config": as_options(run, config)}))
        assert parse(["--resume", str(tmp_path)])[0].method == method
    with pytest.raises(SimkoError, match="belongs to"):
        parse(["--resume", str(tmp_path), "--simko_alpha", "0.1"])


def test_a_mistake_on_the_command_line_exits_with_2_and_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "simko.cli.train", "--simko_alfa", "1"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "simko-train: unknown option simko_alfa" in done.stderr
    assert not list(tmp_path.iterdir())
