"""Values that an option cannot have are refused by name, from a command line, a recipe and a run's own record."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import typing

import pytest
from simko.store.errors import SimkoError, UsageError
from simko.store.layout.run import create_or_resume
from simko.store.writing.recorder import Recorder
from simko.trainers.options.arguments import RENAMED, own_options
from simko.trainers.options.known_options import trl_options
from simko.trainers.options.layers import read_layers, saved_options
from simko.trainers.options.methods import METHODS, method_options, objective_of
from simko.trainers.options.parsing import RunArguments, parse
from simko.trainers.options.recipe_files import recipe, tasks_with_recipes
from simko.trainers.options.values import TRL_LIMITS, Limits

WRONG = [
    ("learning_rate", "-1", "above 0"),
    ("learning_rate", "nan", "above 0"),
    ("num_generations", "0", "at least 2"),
    ("seed", "-1", "at least 0"),
    ("per_device_train_batch_size", "0", "at least 1"),
    ("steps_per_generation", "0", "at least 1"),
    ("max_completion_length", "0", "at least 1"),
    ("probe_tau", "2", "at most 1"),
    ("probe_tau", "nan", "at most 1"),
    ("probe_k", "0", "at least 1"),
    ("probe_response_fraction", "2", "above 0 and at most 1"),
    ("pass_at_k_problems", "0", "at least 1"),
    ("temperature", "0", "above 0"),
    ("temperature", "-1", "above 0"),
    ("temperature", "nan", "above 0"),
    ("max_steps", "0", "at least 1"),
    ("max_steps", "-5", "at least 1"),
    ("max_steps", "1" + "0" * 23, "at most 2147483647"),
    ("max_steps", "2.5", "a whole number"),
    ("pass_at_k_steps", "-2", "at least 0"),
    ("probe_rescore", "-1", "at least 0"),
    ("beta", "nan", "at least 0"),
    ("entropy_coef", "inf", "a finite number"),
    ("vllm_server_timeout", "nan", "a finite number"),
    ("bf16", "maybe", "true or false"),
    ("simko_alpha", "nan", "at most 1"),
    ("simko_lambda", "0", "above 0"),
    ("simko_terms", "half", "there is no half"),
    ("output_dir", "", "--output_dir is empty"),
    ("report_to", "wandbb", "did you mean wandb"),
    ("report_to", "neptune", "needs the package neptune"),
    ("use_vllm", "true", "needs the package vllm"),
]


@pytest.mark.parametrize(("option", "value", "message"), WRONG)
def test_a_wrong_value_is_one_line_that_names_its_option(option, value, message):
    with pytest.raises(SimkoError) as caught:
        read_layers([f"--{option}={value}"])
    assert message in str(caught.value) and option in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("option", "value", "message"), [row for row in WRONG if row[0] not in ("output_dir",)])
def test_the_same_in_a_recipe_names_the_file(option, value, message, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{option}: {'.' + value if value in ('nan', 'inf') else value}\n")
    with pytest.raises(SimkoError) as caught:
        read_layers(["--config", str(path)])
    assert option in str(caught.value) and "\n" not in str(caught.value)
    if option not in ("report_to", "use_vllm"):
        assert "recipe.yaml" in str(caught.value)


@pytest.mark.parametrize("option", sorted({name for name, _ in method_options().items()}))
def test_no_hyperparameter_of_a_method_can_be_nan(option):
    method, about = method_options()[option]
    if typing.get_origin(about.type) is typing.Literal:
        return
    for value in ("nan", "inf", "-inf"):
        with pytest.raises(UsageError, match=option):
            read_layers(["--method", method, f"--{option}", value])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"max_steps: [1, 2]\n", "takes one value"),
        (b"max_steps: {a: 1}\n", "takes one value"),
        (b"max_steps: !!binary aGk=\n", "cannot be bytes"),
        (b"run_name: 2024-01-01\n", "cannot be date"),
        (b"1: 2\n", "flat YAML"),
        (b"- a\n", "flat YAML"),
        (b"a: &x [*x]\n", "unknown option a"),
        (b"max_steps: 1\nmax_steps: 2\n", "given twice"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"a: \x00", "not valid YAML"),
        (b"a: [" * 3000, "not valid YAML"),
        (b"simko_half: both\n", "is now called simko_terms"),
    ],
)
def test_a_recipe_that_is_none_is_one_line(content, message, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_layers(["--config", str(path)])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_recipe_that_is_a_folder(tmp_path):
    with pytest.raises(UsageError, match="is a folder or a device"):
        read_layers(["--config", str(tmp_path)])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", "damaged"),
        ('{"max_steps": "many"}', "max_steps in .* must be a whole number"),
        ('{"max_steps": NaN}', "max_steps in .* must be a whole number"),
        ('{"learning_rate": NaN}', "learning_rate in .* must be above 0"),
        ('{"maxsteps": 3}', "unknown option maxsteps in .*run.json; did you mean max_steps"),
        ('{"method": "sinko"}', "did you mean simko"),
    ],
)
def test_a_run_json_edited_by_hand_is_one_line(config, message, tmp_path):
    (tmp_path / "run.json").write_text('{"config": ' + config + "}")
    with pytest.raises(UsageError, match=message) as caught:
        read_layers(["--resume", str(tmp_path)])
    assert "\n" not in str(caught.value)
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="damaged"):
        read_layers(["--resume", str(tmp_path)])


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_old_spellings_are_refused_with_the_new_one_and_read_in_older_runs(old, new, tmp_path):
    with pytest.raises(UsageError, match=f"option {old} on the command line is now called {new}"):
        read_layers([f"--{old}", "1"])
    value = {"simko_terms": "positive", "dynamic_sampling_rounds": 2}.get(new, 0.5)
    (tmp_path / "run.json").write_text(json.dumps({"config": {old: value}}))
    assert getattr(parse(["--resume", str(tmp_path)])[0], new) == value


@pytest.mark.parametrize("task", tasks_with_recipes())
def test_a_shipped_recipe_given_as_a_file_trains_its_own_task(task, tmp_path):
    path = tmp_path / "copy.yaml"
    task = "reasoning_gym:gcd" if task == "reasoning_gym" else task  # that recipe is of a family
    content = recipe(task) | {"task": task}
    path.write_text("\n".join(f"{name}: {json.dumps(value)}" for name, value in content.items()))
    model = [] if task in ("countdown", "countdown4", "tree") else ["--model", "org/model"]
    asked = read_layers(["--config", str(path), *model])
    assert (asked.task, asked.notes) == (task, [])


def test_a_recipe_without_a_task_is_said(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("max_steps: 3\n")
    assert read_layers(["--config", str(path)]).notes == [f"{path} names no task: training countdown"]


def test_trl_options_are_those_of_the_class():
    """Read from the source, without importing it."""
    from trl import GRPOConfig

    expected = {field.name for field in dataclasses.fields(GRPOConfig) if field.init}
    assert set(trl_options()) == expected
    assert set(TRL_LIMITS) - expected <= {"warmup_ratio"}


def test_every_option_of_a_method_reaches_its_objective():
    """By the same default, and by the value given."""
    for name, method in METHODS.items():
        run = RunArguments(method=name)
        made = objective_of(run)
        for option in method.options:
            if option.default is not None and dataclasses.is_dataclass(made):
                parameter = option.parameter or option.name
                if name == "w_reinforce":
                    assert made.positive == option.default
                else:
                    assert getattr(made, parameter) == option.default, (name, option.name)


def test_defaults_lie_in_their_own_range():
    for option in own_options().values():
        if isinstance(option.default, (int, float)) and not isinstance(option.default, bool):
            assert (option.limits or Limits()).allow(option.default), option.name
    for task in tasks_with_recipes():
        name = "reasoning_gym:gcd" if task == "reasoning_gym" else task
        read_layers(["--task", name, "--model", "org/model", "--dataset", "x.jsonl"])


@pytest.mark.parametrize(
    "arguments",
    [["--simko_alpa", "1"], ["--methd", "grpo"], ["--method", "simk"], ["--learning_rate", "-1"], ["--max_step", "3"]],
)
def test_a_mistake_is_found_before_torch_is_imported(arguments):
    code = (
        "import sys; from simko.cli.train import main; code = main(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout == "2 False\n" and done.stderr.count("\n") == 1 and done.stderr.startswith("simko-train: ")


def test_a_run_goes_on_with_the_options_of_its_newest_attempt(tmp_path):
    run = tmp_path / "run"
    create_or_resume(run, {"config": {"max_steps": 12, "seed": 3}}, resume=False)
    for attempt, steps in ((1, 12), (2, 20)):
        Recorder(run, k=3, attempt=attempt, config={"max_steps": steps, "seed": 3}).close()
    assert saved_options(run) == {"max_steps": 20, "seed": 3}
