"""What a run under verl is to log and to train by, as one JSON environment variable.

verl builds its engines in Ray workers, far from the command line. The command `python -m simko.trainers.verl` puts
these settings into `SIMKO_VERL` and hands the variable to every worker; `VERL_ENGINE_VENDOR=simko` makes verl take our
engine there. No torch and no verl are imported here: a mistake is found before anything heavy is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from ...store.errors import RunExists, UsageError
from ...store.layout.run import RUN_FILE
from ...store.writing.row_sampling import LoggedRows
from ..options.methods import METHODS, check_options, method_options
from ..options.values import Limits, check_value, hint

SETTINGS = "SIMKO_VERL"
"""The variable that holds the settings."""
VENDOR = "VERL_ENGINE_VENDOR"
"""verl's variable that chooses among engines for the same backend and device."""
NAME = "simko"
"""Its value for our engine, and the name of our advantage estimator."""

ELSEWHERE = {
    "entropy_loss": "actor_rollout_ref.actor.entropy_coeff=0.01",
    "dr_grpo": "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm algorithm.norm_adv_by_std_in_grpo=False",
    "dapo": "actor_rollout_ref.actor.clip_ratio_high=0.28",
    "gspo": "actor_rollout_ref.actor.policy_loss.loss_mode=gspo",
    "cispo": "actor_rollout_ref.actor.policy_loss.loss_mode=cispo",
}
"""Methods that are settings of the trainer, and the settings of verl they are there."""


@dataclass(frozen=True)
class Settings:
    """What the engine does in each worker.

    Attributes:
        run: folder of the run's log, absolute and on a disk that every worker sees; None logs nothing.
        method: one of `METHODS` with an objective, or `grpo`, which leaves verl's loss as it is.
        options: the method's options by their names on the command line (`simko_alpha`).
        k: number of ranked candidates logged.
        tau: quantile of the logged forking rule; None follows `simko_tau`, else 0.8.
        every, responses, precision: which token rows are written, as in `LoggedRows`.
        resume: continue the run folder as a new attempt.
        change: also where its figures will mean something else.

    Raises:
        UsageError: a setting is unknown or out of range.
    """

    run: str | None = None
    method: str = "grpo"
    options: dict[str, Any] = field(default_factory=dict)
    k: int = 5
    tau: float | None = None
    every: int = 1
    responses: float = 1.0
    precision: str = "float32"
    resume: bool = False
    change: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"there is no method {self.method}{hint(self.method, METHODS)}")
        if self.method in ELSEWHERE:
            raise UsageError(
                f"--method {self.method} is a setting of verl itself: leave it out and give {ELSEWHERE[self.method]}"
            )
        known = method_options()
        for name, value in self.options.items():
            if name not in known:
                raise UsageError(f"unknown option --{name}{hint(name, known)}")
            check_value(name, value, known[name][1].type, known[name][1].limits)
        check_options(self.method, list(self.options))
        check_value("probe_k", self.k, int, Limits(minimum=1))
        check_value("probe_tau", self.tau, float | None, Limits(minimum=0.0, maximum=1.0))
        if self.run is not None and not Path(self.run).is_absolute():
            raise UsageError(f"the run's folder must be an absolute path that every worker sees, not {self.run}")
        self.rows()

    @property
    def quantile(self) -> float:
        """The logged forking rule's."""
        return float(self.options.get("simko_tau", 0.8)) if self.tau is None else float(self.tau)

    def rows(self) -> LoggedRows:
        """Which token rows are written.

        Raises:
            LoggedRowsInvalid: a value is out of its range.
        """
        return LoggedRows(every=self.every, responses=self.responses, precision=self.precision)  # type: ignore[arg-type]

    def check_folder(self) -> None:
        """See that the run's folder is free, or is to be continued.

        Raises:
            RunExists: it holds a run, and `resume` is not set.
        """
        if self.run is not None and not self.resume and (Path(self.run) / RUN_FILE).exists():
            raise RunExists(f"{self.run} already holds a run; give another --run, or continue it with --resume")

    def hyperparameters(self) -> dict[str, Any]:
        """Every option of the method by name, with its value, for `run.json`."""
        objective = self.objective()
        result = {}
        for name, (method, option) in method_options().items():
            if method == self.method:
                own = getattr(objective, option.parameter or option.name, None)
                result[name] = self.options.get(name, own if option.default is None else option.default)
        return result

    def objective(self) -> Any:
        """The objective of the method; None is verl's own loss. Imports torch.

        Raises:
            UsageError: a hyper-parameter is outside its range.
        """
        place = METHODS[self.method].objective
        if place is None:
            return None
        module, name = place.split(":")
        make = getattr(import_module(f"..objectives.{module}", __package__), name)
        known = method_options()
        values = {known[n][1].parameter or known[n][1].name: value for n, value in self.options.items()}
        try:
            return make(**values)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def environment(self) -> dict[str, str]:
        """The variables that every worker needs."""
        return {SETTINGS: json.dumps(asdict(self), sort_keys=True, ensure_ascii=True), VENDOR: NAME}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings of this process.

        Raises:
            UsageError: there are none, or they cannot be read.
        """
        text = environment.get(SETTINGS)
        if text is None:
            raise UsageError(
                f"{VENDOR}={NAME} is set and {SETTINGS} is not: start verl with `python -m simko.trainers.verl`, or "
                f"hand both variables to the workers (ray_kwargs.ray_init.runtime_env.env_vars)"
            )
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"{SETTINGS} is no JSON ({error}): {text[:80]}") from error
        known = [f.name for f in fields(cls)]
        if not isinstance(values, dict):
            raise UsageError(f"{SETTINGS} must be a JSON object of {', '.join(known)}, not {text[:80]}")
        for name in values:
            if name not in known:
                raise UsageError(f"{SETTINGS} has an unknown entry {name}{hint(name, known)}")
        return cls(**values)


def asked_for(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is to use our engine."""
    return environment.get(VENDOR) == NAME
