"""The methods by name: what `--method` can be, each with its objective, its options and its settings of TRL.

A method is an objective, a set of TRL options, or both. Options begin with the method's name, so that one that belongs
to another method can be refused by name. The TRL options are defaults: a recipe or a flag overrides them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...store.errors import UsageError
from .arguments import RunArguments


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        doc: what it is, in a line.
        objective: makes the objective from the run's options; None is TRL's own loss.
        config: TRL options it sets.
    """

    doc: str
    objective: Callable[[RunArguments], Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)


def _simko(run: RunArguments) -> Any:
    from ..objectives import SimKO

    assert run.simko_alpha is not None and run.simko_k is not None
    assert run.simko_tau is not None and run.simko_lambda is not None
    return SimKO(
        alpha=0.0 if run.simko_terms == "negative" else run.simko_alpha,
        k=run.simko_k,
        tau=run.simko_tau,
        penalty=1.0 if run.simko_terms == "positive" else run.simko_lambda,
        penalty_on=run.simko_lambda_on,
        weighting=run.simko_weighting,
        warmup_steps=run.simko_warmup_steps,
    )


def _of(name: str, *options: str) -> Callable[[RunArguments], Any]:
    """The objective of that name, given the values of some options in order."""

    def make(run: RunArguments) -> Any:
        from .. import objectives

        return getattr(objectives, name)(*(getattr(run, option) for option in options))

    return make


_UNCLIPPED = 1e6
"""An ε that never binds, for methods without PPO clipping."""

METHODS: dict[str, Method] = {
    "grpo": Method("GRPO as TRL has it: token mean, clip 0.2, no KL"),
    "simko": Method(
        "top-K smoothing at forks of right answers, stronger rank-1 penalty at forks of wrong ones", _simko
    ),
    "psr": Method("right answers only", _of("psr")),
    "nsr": Method("wrong answers only", _of("nsr")),
    "w_reinforce": Method(
        "wrong answers, and right ones with a small weight", _of("w_reinforce", "w_reinforce_lambda")
    ),
    "kl_cov": Method(
        "penalises drift of the tokens with the highest covariance; no clipping",
        _of("KLCov", "kl_cov_ratio", "kl_cov_beta"),
        {"epsilon": _UNCLIPPED},
    ),
    "clip_cov": Method(
        "takes a few high-covariance tokens out of the loss",
        _of("ClipCov", "clip_cov_ratio", "clip_cov_low", "clip_cov_high"),
        {"epsilon": 1.0},
    ),
    "entropy_adv": Method(
        "adds a bounded share of the entropy to the advantage",
        _of("EntropyAdvantage", "entropy_adv_alpha", "entropy_adv_kappa"),
    ),
    "entropy_loss": Method("GRPO with an entropy bonus (TRL's --entropy_coef)", config={"entropy_coef": 0.01}),
    "forking_tokens": Method(
        "80/20: trains on the tokens of highest entropy alone, clip-higher",
        _of("ForkingTokens", "forking_tokens_rho"),
        {"epsilon_high": 0.28},
    ),
    "passk_training": Method("the analytic advantage of pass@k", _of("PassAtKTraining", "passk_training_k")),
    "pkpo": Method("leave-one-out-minus-one weights of max@k, not normalised", _of("PKPO", "pkpo_k")),
    "dr_grpo": Method(
        "no division by the group's deviation or the response's length",
        config={"loss_type": "dr_grpo", "scale_rewards": "none"},
    ),
    "dapo": Method(
        "token mean with clip-higher, and dynamic sampling (--dapo_rounds)",
        config={"loss_type": "dapo", "epsilon_high": 0.28},
    ),
    "gspo": Method(
        "one ratio a response, very tight clip",
        config={
            "importance_sampling_level": "sequence",
            "loss_type": "grpo",
            "epsilon": 3e-4,
            "epsilon_high": 4e-4,
        },
    ),
    "cispo": Method(
        "clips the weight, never the gradient (TRL caps the ratio at --epsilon_high itself)",
        config={"loss_type": "cispo", "epsilon_high": 1.2},
    ),
}


def objective_of(run: RunArguments) -> Any:
    """The objective of `--method`; None is TRL's own loss.

    Raises:
        UsageError: a hyper-parameter is outside its range.
    """
    make = METHODS[run.method].objective
    try:
        return None if make is None else make(run)
    except ValueError as error:
        raise UsageError(str(error)) from error


def hyperparameters(run: RunArguments) -> dict[str, Any]:
    """The options that belong to the run's method, for `run.json`."""
    return {name: value for name, value in vars(run).items() if owner(name) == run.method}


def owner(option: str) -> str | None:
    """The method an option belongs to, by its name; None for options of every method."""
    candidates = [name for name in METHODS if option.startswith(f"{name}_")]
    return max(candidates, key=len, default=None)


def check_options(method: str, given: list[str]) -> None:
    """Refuse options of another method.

    Args:
        method: the run's.
        given: names of options a person has set.

    Raises:
        UsageError: naming the option and the method it belongs to.
    """
    if method not in METHODS:
        raise UsageError(f"unknown --method {method}; choose from {', '.join(METHODS)}")
    for option in given:
        if owner(option) not in (None, method):
            raise UsageError(f"--{option} belongs to --method {owner(option)}, this run's is {method}; leave it out")


def check_group(run: RunArguments, num_generations: int) -> None:
    """Refuse a k that no group of responses can tell.

    Raises:
        UsageError: naming the option; with k equal to the group's size Pass@k Training has no gradient at all.
    """
    if run.method == "passk_training" and run.passk_training_k >= num_generations:
        raise UsageError(f"--passk_training_k {run.passk_training_k} must be below --num_generations {num_generations}")
    if run.method == "pkpo" and run.pkpo_k > num_generations:
        raise UsageError(f"--pkpo_k {run.pkpo_k} must not exceed --num_generations {num_generations}")
