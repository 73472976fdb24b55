"""`--plan`: its arithmetic, its estimates against real models, and checks that tell what cannot be known from here."""

from __future__ import annotations

import pytest
from simko.cli.train import main
from simko.store.errors import UsageError
from simko.trainers.models.lora import lora_config
from simko.trainers.options.layers import read_layers
from simko.trainers.options.parsing import build, parse
from simko.trainers.options.recipe_files import model_recipes
from simko.trainers.planning.plan import batches, plan
from simko.trainers.planning.shape import shape_of
from tiny import llama

PAPER = {
    # prompts, responses per prompt, responses per step, steps; α, τ, λ, learning rate, longest response
    "qwen2.5-math-7b": (1024, 8, 2048, 560, 0.01, 0.8, 1.1, 1e-6, 3072),
    "qwen2.5-7b-math": (1024, 8, 2048, 560, 0.01, 0.8, 1.1, 1e-6, 3072),
    "llama-3.2-3b-instruct": (1024, 8, 2048, 640, 0.01, 0.8, 1.1, 1e-6, 3072),
    "qwen2.5-7b-logic": (128, 16, 512, 320, 0.005, 0.8, 1.05, 1e-6, 8192),
}


@pytest.mark.parametrize("name", PAPER)
def test_recipes_have_the_papers_batches_and_settings(name):
    prompts, group, per_step, steps, alpha, tau, penalty, rate, longest = PAPER[name]
    run, config = parse(["--config", name, "--plan"])
    made = batches(run, config, None)
    assert (made.processes, made.prompts, made.responses) == (8, prompts, prompts * group)
    assert (made.responses_per_step, made.steps_per_rollout, made.steps) == (per_step, 4, steps)
    assert (run.simko_alpha, run.simko_k, run.simko_tau, run.simko_lambda) == (alpha, 3, tau, penalty)
    assert (config.learning_rate, config.max_completion_length, config.temperature) == (rate, longest, 1.0)
    assert (config.epsilon, config.beta, config.weight_decay) == (0.2, 0.0, 0.01)


def test_steps_are_counted_where_a_step_spans_rollout_batches_and_an_epochs_last_one_is_short():
    """20 problems, 4 a rollout batch: 5 rollout batches of 2 micro-batches make 4 steps, of 3, 3, 3 and 1."""
    options = {"per_device_train_batch_size": 8, "num_generations": 4, "steps_per_generation": 2}
    options |= {"gradient_accumulation_steps": 3, "num_train_epochs": 2, "max_steps": -1}
    run, config = parse([word for name, value in options.items() for word in (f"--{name}", str(value))])
    made = batches(run, config, 20)
    assert (made.prompts, made.steps_per_rollout, made.steps) == (4, pytest.approx(2 / 3), 8)


@pytest.mark.parametrize("name", list(model_recipes()))
def test_every_shipped_recipe_names_its_task_and_takes_any_method(name):
    for method in ("simko", "grpo", "kl_cov", "gspo"):
        asked = read_layers(["--config", name, "--method", method, "--plan"])
        assert asked.method == method
        run, config = build(asked)
        assert run.task == asked.task
        if method == "gspo":
            assert (config.epsilon, config.importance_sampling_level) == (3e-4, "sequence")
        if method == "kl_cov":
            assert config.epsilon > 1e5
    with pytest.raises(UsageError, match="belongs to --method simko"):
        read_layers(["--config", name, "--method", "grpo", "--simko_alpha", "0.1", "--plan"])


def test_an_option_of_a_third_method_in_a_recipe_is_refused(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("task: countdown\nmethod: simko\npkpo_k: 2\n")
    with pytest.raises(UsageError, match="pkpo_k belongs to"):
        read_layers(["--config", str(path), "--method", "grpo"])


def test_an_unknown_recipe_names_the_nearest_one():
    with pytest.raises(UsageError, match=r"did you mean qwen2\.5-math-7b"):
        read_layers(["--config", "qwen2.5-math-7"])
    with pytest.raises(UsageError, match="shipped recipes: "):
        read_layers(["--config", "nothing-like-it.yml"])


def test_a_plan_starts_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--plan", "--probe", "--max_steps", "40"]) == 0
    text = capsys.readouterr().out
    assert "64 prompts x 8 = 512 responses" in text
    assert "40   (10 rollout batches)" in text
    assert "107,968 parameters" in text
    assert list(tmp_path.iterdir()) == []


def test_a_plan_with_a_fault_names_it_and_exits_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "p.jsonl"
    data.write_text('{"problem": "1+1?", "answer": "2"}\n')
    arguments = ["--plan", "--task", "math", "--model", str(tmp_path / "absent" / "x" / "y"), "--dataset", str(data)]
    assert main([*arguments, "--probe_k", "4", "--pass_at_k_steps", "5"]) == 2
    told = capsys.readouterr()
    assert "NO  model" in told.out and "no model at" in told.out
    assert "NO  evaluation" in told.out and "give --eval_dataset" in told.out
    assert "1 of 1 gold answers right" in told.out
    assert told.err.count("\n") == 1 and "checks failed" in told.err


def test_what_a_hub_would_tell_is_not_checked_without_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("simko.trainers.planning.checking.hub_fault", lambda: "offline mode is on")
    asked = read_layers(["--plan", "--task", "math", "--model", "org/model"])
    outcomes = {check.name: check.outcome for check in plan(*build(asked), asked.missing).checks}
    assert outcomes["model"] == outcomes["tokenizer"] == "not checked"
    assert "failed" not in outcomes.values()


def test_missing_packages_fail_here_but_not_in_a_plan_for_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("simko.trainers.options.layers.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package vllm"):
        read_layers(["--use_vllm", "true"])
    for processes, outcome in ((1, "failed"), (8, "not checked")):
        asked = read_layers(["--use_vllm", "true", "--plan", "--num_processes", str(processes)])
        checks = plan(*build(asked), asked.missing).checks
        assert [check.outcome for check in checks if check.name == "packages"] == [outcome]


@pytest.mark.parametrize("tied", [False, True])
def test_shapes_are_those_of_the_real_model(tied):
    peft = pytest.importorskip("peft")
    model = llama(tie_word_embeddings=tied)
    shape = shape_of(model.config)
    assert shape.parameters == model.num_parameters()
    run, _ = parse(["--lora_r", "3"])
    adapted = peft.get_peft_model(model, lora_config(3, None, "all-linear"))
    assert shape.trained(run) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": None, "alpha": 4, "target_modules": "all-linear"}, "needs --lora_r"),
        ({"r": 4, "alpha": None, "target_modules": " , "}, "names no module"),
    ],
)
def test_wrong_options_of_adapters_are_told(options, message):
    with pytest.raises(UsageError, match=message):
        lora_config(**options)
