"""What verl loads wherever it is imported (entry-point group `verl.plugins`).

Unless the process was asked to (`VERL_ENGINE_VENDOR=simko`), nothing is done. verl hides what a plugin raises and goes
on with its own engine, so that a run would train by another method and log nothing: a mistake here ends the process,
with one line and exit code 2.

The engine and the estimator are made of verl's classes, so they come after `import verl`, which runs this module.
"""

from __future__ import annotations

import sys

from ...store.errors import SimkoError
from .settings import NAME, Settings, asked_for

UNSUPPORTED = ("megatron", "mindspeed", "veomni", "torchtitan", "automodel", "fsdp_turbo")
"""Backends of verl that our engine does not replace; with ours asked for they are refused, not silently taken."""


def register() -> None:
    """Register the engine, its refusals for other backends, and the advantage estimator.

    Raises:
        UsageError: the settings are missing or wrong.
    """
    Settings.from_environment().objective()  # first: a mistake is told before anything heavy is imported

    from verl.trainer.ppo.core_algos import register_adv_est
    from verl.workers.engine import EngineRegistry

    from .advantages import group_advantages
    from .engine import DEVICES, RankedFSDPEngine
    from .refused_engine import RefusedEngine

    kind = {"model_type": "language_model", "device": DEVICES, "vendor": NAME}
    EngineRegistry.register(backend=["fsdp", "fsdp2"], **kind)(RankedFSDPEngine)
    EngineRegistry.register(backend=list(UNSUPPORTED), **kind)(RefusedEngine)
    register_adv_est(NAME)(group_advantages)


if asked_for():
    try:
        register()
    except SimkoError as error:
        print(f"simko: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except Exception as error:
        print(f"simko: the plugin does not fit this verl ({type(error).__name__}: {error})", file=sys.stderr)
        raise SystemExit(2) from error
