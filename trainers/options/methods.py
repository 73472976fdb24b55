"""The methods by name: what `--method` can be, each with its objective, its options and its settings of TRL.

A method is one file in `trainers/objectives/` and one entry here. Options, `--help`, completion, the rows of
`docs/methods.md`, the checks of values and the entry in `run.json` all follow from the entry:

    "mine": Method("what it changes", "mine:Mine", (Option("weight", 0.1, "Weight of …"),), source="arXiv …")

makes `--method mine --mine_weight 0.2` train by `objectives/mine.py:Mine(weight=0.2)`. No torch is imported here, so
that a mistake in an option is refused at once. The documentation's table:

    python -m simko.trainers.options.methods
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ...store.errors import UsageError
from .values import MOST, Limits

if TYPE_CHECKING:
    from .arguments import RunArguments


@dataclass(frozen=True)
class Option:
    """An option that belongs to a method; on the command line it is `--<method>_<name>`.

    Attributes:
        name: what follows the method's name.
        default: its value; None where the task's recipe gives it.
        help: what it is, in a line.
        type: the type of its value; a Literal is a choice.
        parameter: the parameter of the objective it becomes, where that has another name (`lambda` is a keyword).
        limits: which values it can have.
        group_limit: how it is bounded by the number of responses per prompt, if it is.
    """

    name: str
    default: Any
    help: str
    type: Any = float
    parameter: str | None = None
    limits: Limits = field(default_factory=Limits)
    group_limit: Literal["below", "at most"] | None = None


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        doc: what it changes, in a line.
        objective: `module:Class` in `trainers/objectives/`; None is TRL's own loss.
        options: what a person can set of it.
        config: TRL options it sets; a recipe or a flag overrides them.
        shared: the same of our own options that every method has.
        source: the paper and its equations.
    """

    doc: str
    objective: str | None = None
    options: tuple[Option, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    shared: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Every option it sets."""
        return self.config | self.shared


_UNCLIPPED = 1e6
"""An ε that never binds, for methods without PPO clipping."""
_FRACTION = Limits(above=0.0, maximum=1.0)
_COUNT = Limits(minimum=1, maximum=MOST)
_WHOLE = Limits(minimum=0, maximum=MOST)
_NOT_NEGATIVE = Limits(minimum=0.0)
_QUANTILE = Limits(minimum=0.0, maximum=1.0)

METHODS: dict[str, Method] = {
    "grpo": Method("nothing: GRPO as TRL has it (token mean, clip 0.2, no KL)", source="TRL"),
    "simko": Method(
        "top-K smoothing at forks of right answers, stronger rank-1 penalty at forks of wrong ones",
        "simko:SimKO",
        (
            Option("alpha", None, "α: weight of the top-K smoothing at forks of right answers.", limits=_QUANTILE),
            Option("k", None, "K: ranked candidates that share it.", int, limits=_COUNT),
            Option("tau", None, "τ: per-response entropy quantile above which a token is a fork.", limits=_QUANTILE),
            Option(
                "lambda", None, "λ: factor on the rank-1 penalty at forks of wrong answers.",
                parameter="penalty", limits=Limits(above=0.0),
            ),
            Option(
                "terms", "both", "Terms to train with: both, or only that of right or of wrong answers.",
                Literal["both", "positive", "negative"],
            ),
            Option(
                "lambda_on", "advantage", "λ on the advantage (released code) or on the ratio before clipping (paper).",
                Literal["advantage", "ratio"], parameter="penalty_on",
            ),
            Option(
                "weighting", "uniform", "Share of the K candidates: equal, or by their probability.",
                Literal["uniform", "softmax"],
            ),
            Option("warmup_steps", 0, "Optimizer steps of plain GRPO before SimKO sets in.", int, limits=_WHOLE),
        ),
        source="arXiv 2510.14807, Eqs. 3-5",
    ),
    "psr": Method("trains on right answers alone, advantage 1", "reinforce:psr", source="arXiv 2506.01347"),
    "nsr": Method("trains on wrong answers alone, advantage −1", "reinforce:nsr", source="arXiv 2506.01347"),
    "w_reinforce": Method(
        "right answers with weight λ, wrong ones with −1",
        "reinforce:w_reinforce",
        (Option("lambda", 0.1, "Weight of right answers.", parameter="weight", limits=_NOT_NEGATIVE),),
        source="arXiv 2506.01347, Eq. 9",
    ),
    "kl_cov": Method(
        "penalises the drift of the tokens of highest covariance; no clipping",
        "kl_cov:KLCov",
        (
            Option("ratio", 2e-3, "Fraction of tokens penalised.", limits=_FRACTION),
            Option("beta", 1.0, "Weight of the penalty.", limits=_NOT_NEGATIVE),
        ),
        {"epsilon": _UNCLIPPED},
        "arXiv 2505.22617, Eqs. 10-14",
    ),
    "clip_cov": Method(
        "takes a few tokens of high covariance out of the loss; clip 1",
        "clip_cov:ClipCov",
        (
            Option("ratio", 2e-4, "Fraction of tokens taken out of the loss.", limits=_FRACTION),
            Option("low", 1.0, "Lower bound of a candidate's covariance."),
            Option("high", 5.0, "Upper bound of a candidate's covariance."),
        ),
        {"epsilon": 1.0},
        "arXiv 2505.22617, Eqs. 11-12",
    ),
    "entropy_adv": Method(
        "adds min(α·H, |A|/κ) to the advantage",
        "entropy_advantage:EntropyAdvantage",
        (
            Option("alpha", 0.4, "Weight of the entropy.", limits=_NOT_NEGATIVE),
            Option("kappa", 2.0, "The bonus is at most |A|/κ.", limits=Limits(above=1.0)),
        ),
        source="arXiv 2506.14758, Eqs. 4-6",
    ),
    "entropy_loss": Method("GRPO with an entropy bonus (TRL's --entropy_coef, 0.01)", config={"entropy_coef": 0.01}),
    "forking_tokens": Method(
        "80/20: trains on the tokens of highest entropy alone, normalised by their number; clip .2/.28",
        "forking_tokens:ForkingTokens",
        (Option("rho", 0.2, "Fraction of tokens trained on.", limits=_FRACTION),),
        {"epsilon_high": 0.28},
        "arXiv 2506.01939, Eq. 6",
    ),
    "passk_training": Method(
        "the analytic advantage of pass@k",
        "passk_training:PassAtKTraining",
        (Option("k", 4, "k of the pass@k that is trained.", int, limits=_COUNT, group_limit="below"),),
        source="arXiv 2508.10751, Eqs. 11-15",
    ),
    "pkpo": Method(
        "leave-one-out-minus-one weights of max@k, not normalised",
        "pkpo:PKPO",
        (Option("k", 4, "k of the max@k that is trained.", int, limits=_COUNT, group_limit="at most"),),
        source="arXiv 2505.15201, Eq. 33",
    ),
    "dr_grpo": Method(
        "no division by the group's deviation or the response's length",
        config={"loss_type": "dr_grpo", "scale_rewards": "none"},
        source="arXiv 2503.20783",
    ),
    "dapo": Method(
        "clip .2/.28, and dynamic sampling: groups whose rewards do not differ are sampled again",
        config={"loss_type": "dapo", "epsilon_high": 0.28},
        shared={"dynamic_sampling_rounds": 3},
        source="arXiv 2503.14476",
    ),
    "gspo": Method(
        "one ratio per response, clip 3·10⁻⁴/4·10⁻⁴",
        config={"importance_sampling_level": "sequence", "loss_type": "grpo", "epsilon": 3e-4, "epsilon_high": 4e-4},
        source="arXiv 2507.18071",
    ),
    "cispo": Method(
        "clips the weight, never the gradient (TRL caps the ratio at --epsilon_high itself, 1.2)",
        config={"loss_type": "cispo", "epsilon_high": 1.2},
        source="arXiv 2506.13585",
    ),
}  # fmt: skip


def method_options() -> dict[str, tuple[str, Option]]:
    """Option on the command line → the method it belongs to and what it is."""
    return {f"{name}_{option.name}": (name, option) for name, method in METHODS.items() for option in method.options}


def owner(option: str) -> str | None:
    """The method an option belongs to; None for options of every method."""
    owned = method_options().get(option)
    return owned[0] if owned else None


def hyperparameters(run: RunArguments) -> dict[str, Any]:
    """The options that belong to the run's method, for `run.json`."""
    return {name: getattr(run, name) for name, (method, _) in method_options().items() if method == run.method}


def objective_of(run: RunArguments) -> Any:
    """The objective of `--method`; None is TRL's own loss.

    Raises:
        UsageError: a hyper-parameter is outside its range.
    """
    place = METHODS[run.method].objective
    if place is None:
        return None
    module, name = place.split(":")
    make = getattr(import_module(f"..objectives.{module}", __package__), name)
    try:
        return make(**_values(run))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _values(run: RunArguments) -> dict[str, Any]:
    """What the objective takes of the method's options, by parameter."""
    options = METHODS[run.method].options
    values = {option.parameter or option.name: getattr(run, f"{run.method}_{option.name}") for option in options}
    return {name: value for name, value in values.items() if value is not None}


def check_options(method: str, given: list[str]) -> None:
    """Refuse options of another method.

    Args:
        method: the run's, a known one.
        given: names of options a person has set.

    Raises:
        UsageError: naming the option and the method it belongs to.
    """
    for option in given:
        if owner(option) not in (None, method):
            raise UsageError(f"--{option} belongs to --method {owner(option)}, this run's is {method}; leave it out")


def check_group(run: RunArguments, num_generations: int) -> None:
    """Refuse a k that no group of responses can estimate.

    Raises:
        UsageError: naming the option; with k equal to the group's size Pass@k Training has no gradient at all.
    """
    for option in METHODS[run.method].options:
        name = f"{run.method}_{option.name}"
        value = getattr(run, name)
        if option.group_limit == "below" and value >= num_generations:
            raise UsageError(f"--{name} {value} must be below --num_generations {num_generations}")
        if option.group_limit == "at most" and value > num_generations:
            raise UsageError(f"--{name} {value} must not exceed --num_generations {num_generations}")


def check_loss(run: RunArguments, loss_type: str) -> None:
    """Refuse a `loss_type` whose mean is not the one that the method rescales.

    Raises:
        UsageError: naming those that are.
    """
    from ..engine.normaliser import check_mean

    check_mean(objective_of(run), loss_type)


def table() -> str:
    """The methods as the table of `docs/methods.md`."""
    lines = ["| `--method` | what it changes | options, with defaults | source |", "|---|---|---|---|"]
    for name, method in METHODS.items():
        options = ", ".join(
            f"`--{name}_{option.name}{'' if option.default is None else f' {_shown(option.default)}'}`"
            + (" (the task's recipe)" if option.default is None else "")
            for option in method.options
        )
        lines.append(f"| `{name}` | {method.doc.replace('|', chr(92) + '|')} | {options} | {method.source} |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(table())
