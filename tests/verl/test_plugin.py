"""The plugin through verl's own loader: nothing unless asked for, everything when asked, and no silent failure."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from simko.trainers.verl.advantages import group_advantages
from simko.trainers.verl.engine import RankedFSDPEngine
from verl.trainer.ppo.core_algos import get_adv_estimator_fn
from verl.workers.engine import EngineRegistry


def python(code, **environment):
    clean = {k: value for k, value in os.environ.items() if not k.startswith(("VERL_", "SIMKO_"))}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | environment)


def test_verl_finds_the_plugin_and_its_registries_give_ours():
    assert [point.value for point in entry_points(group="verl.plugins") if point.name == "simko"] == [
        "simko.trainers.verl.plugin"
    ]
    for backend in ("fsdp", "fsdp2"):
        assert EngineRegistry.get_engine_cls("language_model", backend) is RankedFSDPEngine
    assert get_adv_estimator_fn("simko") is group_advantages


def test_installed_and_not_asked_for_it_does_nothing():
    done = python(
        "import sys, verl; print('simko.trainers.verl.plugin' in sys.modules, 'torch' in sys.modules, "
        "'verl.workers.engine' in sys.modules, 'simko.trainers.verl.engine' in sys.modules)"
    )
    assert done.stdout.split() == ["True", "True", "False", "False"], done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "start verl with"),
        ('{"method": "simkoo"}', "did you mean simko?"),
    ],
)
def test_a_mistake_ends_the_process_with_one_line(settings, message):
    environment = {"VERL_ENGINE_VENDOR": "simko"} | ({} if settings is None else {"SIMKO_VERL": settings})
    done = python("import verl; print('went on')", **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    ours = [line for line in done.stderr.splitlines() if line.startswith("simko: ")]
    assert len(ours) == 1
    assert message in ours[0]
    assert "Traceback" not in done.stderr
