"""A study's file: what it may say, and that every mistake is one line which names the file and the place."""

from __future__ import annotations

from pathlib import Path

import pytest
from simko.store.errors import SimkoError
from simko.trainers.study.plan import Plan
from simko.trainers.study.specification import load, shipped
from studies import GRID, HEAD, study

RUNS = "runs: [{method: grpo}]\n"
SIMKO = "runs: [{method: simko, select: {simko_alpha: [0.1]}}]\n"


def test_everything_a_file_says_is_read():
    read = study(GRID)
    assert (read.name, read.task, read.seeds, read.base_seeds) == ("tiny", "countdown", (1, 2), (0,))
    assert [entry.label for entry in read.entries] == ["grpo", "SimKO", "SimKO warm-up"]
    assert read.entry("SimKO").grid == {"simko_alpha": (0.05, 0.2), "simko_tau": (0.5,)}
    assert (read.entry("SimKO warm-up").inherit, read.entry("SimKO warm-up").seeds) == ("SimKO", (1,))
    assert (read.selection.seeds, read.selection.maximise, read.selection.shared_maximise) == (
        (101, 102),
        (1, 256),
        (1,),
    )
    assert read.frontier.scales == (0.5, 2.0)
    assert read.content["select"]["maximise"] == "pass@1+pass@256"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seedz: [1]\n" + RUNS, "mine.yaml: unknown key seedz; did you mean seeds?"),
        ("runs: [{method: grpo, lable: x}]", "mine.yaml: runs[0]: unknown key lable; did you mean label?"),
        (RUNS + "select: {seed: [9]}", "select: unknown key seed; did you mean seeds?"),
        (RUNS + "frontier: {method: grpo, scale: [2]}", "frontier: unknown key scale"),
        ("runs: [{method: grop}]", "unknown method grop; did you mean grpo?"),
        (RUNS + "frontier: {method: grop, learning_rate_scale: [2]}", "did you mean grpo?"),
        ("runs: [{method: grpo, options: {lerning_rate: 1}}]", "grpo: options: unknown option lerning_rate; did you"),
        ("runs: [{method: simko, select: {simko_alhpa: [1]}}]\nselect: {seeds: [9]}", "did you mean simko_alpha?"),
        ("runs: [{method: grpo, options: {simko_alpha: 0.1}}]", "--simko_alpha belongs to --method simko"),
        (
            "runs: [{method: grpo, options: {max_steps: many}}]",
            "mine.yaml: grpo: --max_steps must be a whole number, not 'many'",
        ),
        ("runs: [{method: simko, options: {simko_alpha: 2}}]", "--simko_alpha must be at least 0 and at most 1, not 2"),
        ("runs: [{method: pkpo, options: {pkpo_k: 9}}]", "must not exceed --num_generations"),
        ("runs: [{method: grpo, options: {seed: 1}}]", "options: seed is set by the study itself"),
        ("runs: [{method: grpo, options: {max_steps: }}]", "max_steps has no value"),
        ("runs: [{method: grpo, options: [max_steps]}]", "options must be lines `option: value`"),
        ("runs: []", "runs must be a list that is not empty"),
        ("runs: [grpo]", "runs[0]: must be lines `key: value`"),
        ("", "runs is missing"),
        (RUNS + "base_seeds: [0, 0]", "base_seeds must be a list of different whole numbers"),
        (RUNS + "base_seeds: [true]", "base_seeds must be a list of different whole numbers"),
        ("runs: [{method: grpo, seeds: [3]}]", "seeds [3] are none of the study's [1, 2]"),
        ("runs: [{method: grpo}, {method: grpo}]", "runs[1] (grpo): label grpo is taken"),
        ("runs: [{method: grpo, label: A b}, {method: grpo, label: a-B}]", "A b and a-B both have a run a-b-seed1"),
        ("runs: [{method: grpo, label: α}]", "label α needs a letter or a digit"),
        ("runs: [{method: grpo, label: shared}]", "label shared is taken"),
        ("runs: [{method: grpo}, {method: grpo, label: B, inherit: grop}]", "labelled grop; did you mean grpo?"),
        ("runs: [{method: grpo, inherit: grpo}]", "no entry above is labelled grpo"),
        (SIMKO, "select: seeds are missing"),
        (SIMKO + "select: {seeds: [2, 9]}", "select: seeds [2] are compared as well"),
        (SIMKO + "select: {seeds: [9], maximise: pass@3}", "maximise: pass@3 must be a sum of pass@1"),
        (SIMKO + "select: {seeds: [9], method: grpo}", "method is about the shared grid"),
        (SIMKO + "select: {seeds: [9], method: grpo, options: {max_steps: [4]}}", "max_steps is fixed in the study's"),
        ("runs: [{method: simko, select: {simko_alpha: 0.1}}]", "simko_alpha must be a list of values"),
        (RUNS + "frontier: {method: grpo, learning_rate_scale: [1]}", "scale 1 is the compared run itself"),
        (RUNS + "frontier: {method: grpo, learning_rate_scale: [-2]}", "must be a list of different positive numbers"),
        (RUNS + RUNS, "mine.yaml line 7: not valid YAML: runs is given twice"),
        ("runs: [", "mine.yaml line"),
    ],
)
def test_mistakes_name_the_file_and_the_place(text, message):
    with pytest.raises(SimkoError) as caught:
        Plan(study(text), Path("out"))
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("study: tiny", "study: a/b", "study: 'a/b' must be letters"),
        ("task: countdown", "task: countdwon", "unknown --task countdwon; did you mean countdown?"),
        ("description: a try", "description: 3", "description must be text, not 3"),
        ("seeds: [1, 2]", "seeds: 1", "seeds must be a list"),
        ("{max_steps: 4,", "{maxsteps: 4,", "options: unknown option maxsteps; did you mean max_steps?"),
    ],
)
def test_mistakes_at_the_top_are_named_too(old, new, message):
    with pytest.raises(SimkoError, match=r"mine\.yaml") as caught:
        Plan(study(RUNS, HEAD.replace(old, new)), Path("out"))
    assert message in str(caught.value)


def test_base_policies_are_built_for_their_own_task_alone():
    with pytest.raises(SimkoError, match="base policies of task gsm8k cannot be built"):
        Plan(study(RUNS + "base_seeds: [1]", HEAD.replace("countdown", "gsm8k")), Path("out"))


def test_an_unknown_study_names_the_nearest_one(tmp_path):
    with pytest.raises(SimkoError, match="did you mean paper-laptop"):
        load("paper-labtop")
    with pytest.raises(SimkoError, match=r"cannot read the study .*nowhere\.yaml: No such file"):
        load(str(tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_study_can_be_planned(name):
    read = load(name)
    assert read.name == name
    assert Plan(read, Path("out")).all({})
