"""The runs of a study: names, options by layer, base policies and command lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from simko.store.errors import SimkoError
from simko.trainers.options.parsing import parse
from simko.trainers.study.plan import Plan
from simko.trainers.study.specification import load
from studies import GRID, HEAD, study

CHOSEN = {"shared": {"learning_rate": 3e-4}, "SimKO": {"simko_alpha": 0.2, "simko_tau": 0.5}}


def planned(text=GRID, chosen=CHOSEN, head=HEAD, **overrides):
    plan = Plan(study(text, head), Path("out"), **overrides)
    return {run.name: run for run in plan.all(chosen)}


@pytest.fixture(scope="module")
def runs():
    """The runs of the grid, once its options are chosen."""
    return planned()


def test_every_run_has_a_name_a_role_and_a_folder(runs):
    assert [run.role for run in runs.values()] == ["selection"] * 8 + ["compare"] * 5 + ["frontier"] * 4
    assert list(runs)[:2] == ["shared-learning_rate0.00015-seed101", "shared-learning_rate0.00015-seed102"]
    assert list(runs)[4] == "simko-simko_alpha0.05-simko_tau0.5-seed101"
    assert list(runs)[8:13] == ["grpo-seed1", "grpo-seed2", "simko-seed1", "simko-seed2", "simko-warm-up-seed1"]
    assert list(runs)[13:] == ["grpo-lr0.5x-seed1", "grpo-lr0.5x-seed2", "grpo-lr2x-seed1", "grpo-lr2x-seed2"]
    assert {str(run.folder.parent) for run in runs.values()} == {"out/selection", "out"}


def test_options_come_in_layers_the_chosen_ones_last(runs):
    assert runs["grpo-seed1"].options["learning_rate"] == 3e-4
    warm = runs["simko-warm-up-seed1"].options
    assert (warm["simko_alpha"], warm["simko_tau"], warm["simko_warmup_steps"]) == (0.2, 0.5, 2)
    assert [runs[f"grpo-lr{scale}x-seed1"].options["learning_rate"] for scale in ("0.5", "2")] == [1.5e-4, 6e-4]
    assert [runs[f"grpo-lr{scale}x-seed1"].learning_rate_scale for scale in ("0.5", "2")] == [0.5, 2.0]
    assert all(run.unchosen == () for run in runs.values())


def test_the_frontier_starts_from_the_recipes_learning_rate_where_none_is_given():
    runs = planned("runs: [{method: grpo}]\nfrontier: {method: grpo, learning_rate_scale: [0.25]}", chosen={})
    assert runs["grpo-lr0.25x-seed1"].options["learning_rate"] == 3.75e-5
    assert "learning_rate" not in runs["grpo-seed1"].options


def test_what_is_not_chosen_yet_is_named():
    runs = planned(chosen={})
    assert runs["shared-learning_rate3e-4-seed101"].unchosen == ()
    assert runs["simko-simko_alpha0.2-simko_tau0.5-seed101"].unchosen == ("learning_rate",)
    assert runs["grpo-seed1"].unchosen == ("learning_rate",)
    assert runs["simko-warm-up-seed1"].unchosen == ("simko_alpha", "simko_tau", "learning_rate")
    fixed = planned(GRID.replace("- method: grpo", "- method: grpo\n    options: {learning_rate: 1.0e-5}"), chosen={})
    assert fixed["grpo-seed1"].unchosen == ()


def test_command_lines_are_those_of_an_ordinary_probed_run(runs):
    run, config = parse(list(runs["simko-seed2"].arguments))
    assert (run.probe, run.task, run.method, run.simko_alpha, run.model) == (True, "countdown", "simko", 0.2, None)
    assert (config.seed, config.run_name, config.output_dir) == (2, "simko-seed2", "out/simko-seed2")
    assert (config.max_steps, config.learning_rate, run.pass_at_k_split) == (4, 3e-4, "heldout")


def test_selection_runs_see_validation_problems_alone(runs):
    for run in runs.values():
        parsed, _ = parse(list(run.arguments))
        assert parsed.pass_at_k_split == ("validation" if run.role == "selection" else "heldout")


def test_base_policies_take_turns_over_the_seeds():
    head = HEAD.replace("seeds: [1, 2]", "seeds: [5, 6, 7]\nbase_seeds: [0, 3]")
    runs = planned("runs: [{method: grpo}]", head=head)
    assert [run.base for run in runs.values()] == ["countdown-0", "countdown-3", "countdown-0"]
    assert [parse(list(run.arguments))[0].model for run in runs.values()] == [None, "out/bases/countdown-3", None]
    # A run keeps its base policy when only some of the seeds are asked for.
    assert [run.base for run in planned("runs: [{method: grpo}]", head=head, seeds=[6]).values()] == ["countdown-3"]
    model = planned("runs: [{method: grpo, options: {model: my/model}}]", head=head)
    assert {(run.base, run.base_seed) for run in model.values()} == {("my/model", None)}


def test_overrides_are_a_subset_of_seeds_and_a_budget():
    runs = planned(seeds=[2], max_steps=40)
    assert {run.seed for run in runs.values() if run.role != "selection"} == {2}
    assert {run.options["max_steps"] for run in runs.values()} == {40}
    assert "simko-warm-up-seed1" not in runs
    with pytest.raises(SimkoError, match=r"--seeds 3 is none of the study's seeds \[1, 2\]"):
        planned(seeds=[3])


@pytest.mark.parametrize(
    ("option", "value", "typed"),
    [
        ("scale_rewards", "none", "none"),
        ("bf16", "false", False),
        ("entropy_coef", "-1.0e-3", -1e-3),
        ("model_init_kwargs", "{dtype: float32}", {"dtype": "float32"}),
        ("lr_scheduler_type", "cosine", "cosine"),
    ],
)
def test_values_of_every_type_reach_the_run(option, value, typed):
    run = planned(f"runs: [{{method: grpo, options: {{{option}: {value}}}}}]")["grpo-seed1"]
    assert run.options[option] == typed


def test_the_papers_study_is_as_large_as_it_says():
    plan = Plan(load("paper-laptop"), Path("out"))
    roles = [run.role for run in plan.all({})]
    assert [roles.count(role) for role in ("selection", "compare", "frontier")] == [9, 35, 15]
