"""The command that starts verl with our engine: settings first, then verl's own overrides.

    python -m simko.trainers.verl --run runs/mine --method simko --simko_alpha 0.02 -- \\
        data.train_files=train.parquet data.val_files=test.parquet actor_rollout_ref.model.path=ORG/MODEL …

It checks both, puts the settings into the environment of this process and of every Ray worker, and becomes
`python -m verl.trainer.main_ppo`. Mistakes end in one line and exit code 2, before Ray or a GPU is touched.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ...store.errors import UsageError
from ...store.extras import require
from ..options.methods import METHODS, method_options
from ..options.values import check_value
from .settings import ELSEWHERE, NAME, Settings

PROGRAM = "python -m simko.trainers.verl"
_ACTOR = "actor_rollout_ref.actor"
_ENVIRONMENT = "ray_kwargs.ray_init.runtime_env.env_vars"
_UNCLIPPED = 1e3
"""From this ε on nothing is clipped, and verl's bound on the ratio of bad responses is lifted as well."""


@dataclass(frozen=True)
class Launch:
    """What becomes of a command line.

    Attributes:
        settings: for the workers.
        overrides: for verl, in order; later ones win.
    """

    settings: Settings
    overrides: list[str]

    @property
    def command(self) -> list[str]:
        """What is run."""
        return [sys.executable, "-m", "verl.trainer.main_ppo", *self.overrides]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{PROGRAM} --help`")


def read(arguments: Sequence[str]) -> Launch:
    """Read a command line.

    Raises:
        UsageError: an option is unknown, malformed or out of range.
    """
    parser = _parser()
    arguments = list(arguments)
    split = arguments.index("--") if "--" in arguments else len(arguments)
    given = vars(parser.parse_args(arguments[:split]))
    overrides = arguments[split + 1 :]
    for override in overrides:
        if override.startswith("-") or "=" not in override.lstrip("~"):
            raise UsageError(f"{override} is no override of verl (key=value); options of simko come before `--`")
    known = method_options()
    options = {}
    for name, (_, option) in known.items():
        if (text := given.pop(name, None)) is not None:
            check_value(name, text, option.type, option.limits)
            options[name] = option.type(text) if option.type in (int, float) else text
    run = given.pop("run")
    settings = Settings(run=None if run is None else str(Path(run).resolve()), options=options, **given)
    settings.check_folder()
    return Launch(settings, [*_of_method(settings.method), *overrides, *_of_workers(settings)])


def check(launch: Launch) -> Any:
    """Compose verl's configuration and see that the engine can work with it; gives the configuration.

    Raises:
        UsageError: verl does not know a setting, or the engine cannot work with it.
    """
    require("verl", extra="verl", command=PROGRAM)
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from .options import credits_groups

    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", overrides=launch.overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(f"verl does not take these settings: {' '.join(str(error).split())}") from error

    def value(key: str) -> Any:
        return OmegaConf.select(config, key)

    method = launch.settings.method
    for key in (f"{_ACTOR}.strategy", "actor_rollout_ref.ref.strategy"):
        if value(key) not in ("fsdp", "fsdp2"):
            raise UsageError(
                f"{key}={value(key)}: simko's engine replaces verl's FSDP engine alone; give fsdp2 or fsdp"
            )
    if value("actor_rollout_ref.model.use_fused_kernels"):
        raise UsageError("fused kernels hide the logits: give actor_rollout_ref.model.use_fused_kernels=False")
    for role in ("actor", "ref"):
        if (value(f"actor_rollout_ref.{role}.fsdp_config.ulysses_sequence_parallel_size") or 1) > 1:
            raise UsageError(
                f"simko's engine does not put sequences together that are cut up: give "
                f"actor_rollout_ref.{role}.fsdp_config.ulysses_sequence_parallel_size=1"
            )
    estimator, objective = value("algorithm.adv_estimator"), launch.settings.objective()
    if objective is not None and estimator not in (NAME, *(() if credits_groups(objective) else ("grpo",))):
        raise UsageError(f"--method {method} with algorithm.adv_estimator={estimator}: leave it out, or give {NAME}")
    if objective is not None and value("algorithm.use_kl_in_reward"):
        raise UsageError("algorithm.use_kl_in_reward=True changes what is right: give actor.use_kl_loss=True instead")
    epochs = value(f"{_ACTOR}.ppo_epochs")
    if launch.settings.run is not None and epochs > 1 and not value("trainer.use_v1"):
        raise UsageError(
            f"{_ACTOR}.ppo_epochs={epochs} under the older trainer: equal responses cannot be told apart there, and "
            "each would be counted several times; give trainer.use_v1=True, or ppo_epochs=1"
        )
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """Become verl; returns only after a mistake."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    launch = read(arguments)
    # Importing verl runs the plugin where it is asked for, and registers the estimator that a check may need
    os.environ.update(launch.settings.environment())
    check(launch)
    sys.stdout.flush()
    os.execv(launch.command[0], launch.command)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Train with verl by a method of simko, and log what the policy does. After `--` come verl's own "
        "overrides (key=value).",
        allow_abbrev=False,
    )
    methods = [name for name in METHODS if name not in ELSEWHERE]
    parser.add_argument("--run", help="folder of the log, on a disk that every worker sees; without it, none")
    parser.add_argument("--method", default="grpo", help=f"one of {', '.join(methods)} (grpo: verl's own loss)")
    parser.add_argument("--resume", action="store_true", help="continue the run folder, as verl resumes its checkpoint")
    parser.add_argument(
        "--probe_change", dest="change", action="store_true", help="also where its figures will mean something else"
    )
    parser.add_argument("--probe_k", dest="k", type=int, default=5, help="ranked candidates logged per token")
    parser.add_argument("--probe_tau", dest="tau", type=float, help="entropy quantile of the logged forks")
    parser.add_argument("--probe_every", dest="every", type=int, default=1, help="steps between those with token rows")
    parser.add_argument(
        "--probe_response_fraction", dest="responses", type=float, default=1.0, help="responses with token rows"
    )
    parser.add_argument("--probe_precision", dest="precision", default="float32", help="float32 or bfloat16")
    for name, (method, option) in method_options().items():
        if method not in ELSEWHERE:
            parser.add_argument(f"--{name}", help=option.help.replace("%", "%%"), default=None)
    return parser


def _of_method(method: str) -> list[str]:
    """The settings of verl that belong to a method; what a person gives comes later and wins."""
    settings = METHODS[method].config
    overrides = [f"algorithm.adv_estimator={'grpo' if METHODS[method].objective is None else NAME}"]
    if (low := settings.get("epsilon")) is not None:
        overrides += [f"{_ACTOR}.clip_ratio={low}", f"{_ACTOR}.clip_ratio_low={low}"]
        overrides += [] if "epsilon_high" in settings else [f"{_ACTOR}.clip_ratio_high={low}"]
        overrides += [f"{_ACTOR}.clip_ratio_c={low}"] if low >= _UNCLIPPED else []
    if (high := settings.get("epsilon_high")) is not None:
        overrides.append(f"{_ACTOR}.clip_ratio_high={high}")
    return overrides


def _of_workers(settings: Settings) -> list[str]:
    """The overrides that hand the settings to every worker, also of a Ray cluster that runs already."""
    return [f"++{_ENVIRONMENT}.{name}={quoted(value)}" for name, value in settings.environment().items()]


def quoted(text: str) -> str:
    """A text as Hydra's grammar takes it, every character as it is.

    Raises:
        UsageError: it holds what OmegaConf would replace.
    """
    if "${" in text:
        raise UsageError(f"verl's configuration would replace ${{…}} in {text}: choose another name for the run")
    # A backslash escapes a quote, and other backslashes before one; anywhere else it is a character
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{escaped}'"
