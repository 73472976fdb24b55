"""Settings of a run under verl: to the workers and back unchanged, every mistake named."""

from __future__ import annotations

import json

import pytest
from simko.store.errors import SimkoError, UsageError
from simko.trainers.options.methods import METHODS, method_options
from simko.trainers.verl.settings import ELSEWHERE, NAME, SETTINGS, VENDOR, Settings, asked_for

OWN = [name for name in METHODS if name not in ELSEWHERE]


@pytest.mark.parametrize("method", OWN)
def test_settings_come_back_as_they_were_sent(method):
    options = {n: o.default for n, (m, o) in method_options().items() if m == method and o.default is not None}
    sent = Settings(run="/runs/é'\"\\ x", method=method, options=options, k=7, tau=0.5, every=3, responses=0.25)
    environment = sent.environment()
    assert all(isinstance(value, str) and value.isascii() for value in environment.values())
    assert asked_for(environment)
    assert Settings.from_environment(environment) == sent


@pytest.mark.parametrize("method", OWN)
def test_every_method_has_its_objective_and_all_its_hyperparameters(method):
    settings = Settings(method=method)
    assert (settings.objective() is None) == (METHODS[method].objective is None)
    names = {name for name, (owner, _) in method_options().items() if owner == method}
    values = settings.hyperparameters()
    assert set(values) == names and None not in values.values()


def test_options_reach_the_objective_and_the_log():
    settings = Settings(method="simko", options={"simko_alpha": 0.5, "simko_lambda": 3.0, "simko_tau": 0.6})
    objective = settings.objective()
    assert (objective.alpha, objective.penalty, objective.tau, objective.k) == (0.5, 3.0, 0.6, 3)
    assert settings.quantile == 0.6
    assert Settings(method="simko", tau=0.9).quantile == 0.9
    assert Settings().quantile == 0.8
    assert Settings(every=4, responses=0.5, precision="bfloat16").rows().every == 4


def test_methods_that_are_settings_of_verl_are_told():
    assert set(ELSEWHERE) == {name for name, method in METHODS.items() if method.objective is None} - {"grpo"}
    for method in ELSEWHERE:
        with pytest.raises(UsageError, match="setting of verl"):
            Settings(method=method)


def test_a_process_is_asked_by_the_vendor_alone():
    assert not asked_for({})
    assert not asked_for({VENDOR: "nvidia", SETTINGS: "{}"})
    assert asked_for({VENDOR: NAME})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "start verl with"),
        ("{", "no JSON"),
        ("[]", "must be a JSON object"),
        ('{"methd": "simko"}', "did you mean method"),
        ('{"method": "simkoo"}', "did you mean simko"),
        ('{"method": "simko", "options": {"simko_alpha": 2}}', "--simko_alpha must be"),
        ('{"method": "simko", "options": {"simko_alpa": 0.2}}', "did you mean simko_alpha"),
        ('{"options": {"simko_alpha": 0.2}}', "belongs to --method simko"),
        ('{"run": "relative"}', "absolute path"),
        ('{"k": 0}', "--probe_k must be"),
        ('{"tau": 1.5}', "--probe_tau must be"),
        ('{"every": 0}', "every 0 steps"),
        ('{"precision": "float16"}', "float32 or bfloat16"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(SimkoError) as wrong:
        Settings.from_environment({} if text is None else {SETTINGS: text})
    assert message in str(wrong.value) and "\n" not in str(wrong.value)


def test_a_folder_that_holds_a_run_is_taken_only_to_resume(tmp_path):
    Settings(run=str(tmp_path)).check_folder()
    (tmp_path / "run.json").write_text(json.dumps({}))
    with pytest.raises(SimkoError, match="--resume"):
        Settings(run=str(tmp_path)).check_folder()
    Settings(run=str(tmp_path), resume=True).check_folder()
