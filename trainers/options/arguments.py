"""The options of `simko-train` that are ours; every other option is TRL's `GRPOConfig`, under TRL's own names.

Light on purpose: `simko-train --help` reads this file without importing torch. An option left at None takes the value
of the task's recipe (`recipes/<task>.yaml`), where real models get the paper's values and the built-in task gets values
that matter at its size. The options of the methods come from their entries in `methods.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Optional, get_type_hints

from .methods import METHODS, method_options
from .values import MOST, Limits

GROUPS = {
    "run": "run",
    "data": "model and data",
    "method": "method",
    "probe": "probe",
    "evaluation": "evaluation",
}
"""Group of an option → its heading in the help, in order."""


class Help(str):
    """The help of an option, with what else is known of it: transformers' parser allows a field no other metadata."""

    group: str
    limits: Limits | None
    method: str | None

    def __new__(cls, text: str, group: str, limits: Limits | None = None, method: str | None = None) -> Help:
        """A string like any other."""
        made = super().__new__(cls, text)
        made.group, made.limits, made.method = group, limits, method
        return made


def _option(default: Any, help: str, group: str, limits: Limits | None = None) -> Any:
    return field(default=default, metadata={"help": Help(help, group, limits)})


_COUNT = Limits(minimum=1, maximum=MOST)
_OR_NEVER = Limits(minimum=0, maximum=MOST)


@dataclass
class SharedArguments:
    """What to train, by which method, and what to log: the options that no single method owns."""

    resume: str | None = _option(
        None,
        "A run's folder to continue from its latest checkpoint, with the options it was started with; or one of its "
        "checkpoint folders, to go back to that step.",
        "run",
    )
    plan: bool = _option(
        False, "Print what the run would do, need and write, check what can be checked, and start nothing.", "run"
    )
    num_processes: int | None = _option(
        None,
        "How many processes the batch sizes are meant for; a launch with another number is told so. Launching them is "
        "the launcher's business.",
        "run",
        _COUNT,
    )
    on_nan: Literal["stop", "warn"] = _option(
        "stop",
        "What to do when the loss, Λ(k) or pass@k turns NaN or infinite: stop, or warn and go on.",
        "run",
    )
    sampler_gap: float = _option(
        0.1,
        "Largest mean |difference| in nats between the sampler's log-probs and the trainer's; with --use_vllm.",
        "run",
        Limits(above=0.0),
    )
    on_sampler_gap: Literal["stop", "warn"] = _option(
        "stop",
        "What to do when the sampler's log-probs are further from the trainer's: stop, or warn and go on.",
        "run",
    )
    task: str | None = _option(
        None,
        "What is trained: `countdown` (the default), `countdown4` or `tree`, all built in, `math`, `gsm8k`, "
        "`gsm8k_math1`, `synlogic` or `reasoning_gym:TASK`; `simko tasks` lists them.",
        "data",
    )
    task_options: dict[str, Any] | str | None = _option(  # noqa: RUF009
        None,
        "Of a generated task, as NAME=VALUE,NAME=VALUE or JSON: size, heldout_size, validation_size, seed, and the "
        "task's own.",
        "data",
    )
    prompt_style: Literal["chat", "plain", "few_shot"] | None = _option(
        None,
        "How problems are put; default: chat where the tokenizer has a template, else plain.",
        "data",
    )
    model: str | None = _option(
        None,
        "Hub id, local checkpoint folder, .gguf file or `smollm2-135m-instruct`, a package; default: the tiny policy "
        "of the built-in task.",
        "data",
    )
    dataset: str | None = _option(
        None, "Hub id or local .parquet/.jsonl/.json file of problems; default: the task's own data set.", "data"
    )
    eval_dataset: str | None = _option(
        None,
        "Held-out problems for pass@k, given like --dataset; built-in tasks have their own held-out split.",
        "data",
    )
    lora_r: int | None = _option(
        None, "Rank of low-rank adapters to train instead of the model's own weights; default: none.", "data", _COUNT
    )
    lora_alpha: int | None = _option(None, "Scale of the adapters; default: twice --lora_r.", "data", _COUNT)
    lora_target_modules: str = _option(
        "all-linear", "Modules that get adapters, by name with commas between them, or `all-linear`.", "data"
    )
    share_prompts: bool = _option(
        False,
        "Run the beginning that several responses share through the model once, in generation, scoring and evaluation; "
        "not together with activation checkpointing, nor with several processes.",
        "data",
    )
    method: str = _option("simko", f"Training method: {', '.join(METHODS)}.", "method")
    dynamic_sampling_rounds: int | None = _option(
        None,
        "Rounds of generation at most to fill a batch with groups whose rewards differ; default: 1, takes groups as "
        "they come (dapo: 3).",
        "method",
        _COUNT,
    )
    probe: bool = _option(
        False, "Log per-token ranked statistics, roll-ups and pass@k to Parquet in the run's folder.", "probe"
    )
    probe_k: int = _option(5, "Ranked candidates logged per token.", "probe", _COUNT)
    probe_every: int = _option(
        1, "Steps between those whose token rows are written; roll-ups are of every step.", "probe", _COUNT
    )
    probe_response_fraction: float = _option(
        1.0,
        "Fraction of responses whose token rows are written; roll-ups are of all.",
        "probe",
        Limits(above=0.0, maximum=1.0),
    )
    probe_precision: Literal["float32", "bfloat16"] = _option(
        "float32",
        "How exactly token rows hold the candidates' log-probabilities; bfloat16 takes a third less room.",
        "probe",
    )
    probe_change: bool = _option(
        False,
        "Resume a run although its figures will mean something else (temperature, K, forks, smoothing, rows).",
        "probe",
    )
    probe_compact: bool = _option(True, "Merge the log's small files into large ones when the run ends.", "probe")
    probe_tau: float | None = _option(
        None,
        "Entropy quantile above which the log calls a token a fork.",
        "probe",
        Limits(minimum=0.0, maximum=1.0),
    )
    probe_rescore: int = _option(
        0,
        "Optimizer steps between those whose tokens are scored again, to log what the step did to them; 0: never.",
        "probe",
        _OR_NEVER,
    )
    pass_at_k_steps: int | None = _option(
        None,
        "Optimizer steps between pass@k evaluations (also before the first and after the last); 0: never.",
        "evaluation",
        _OR_NEVER,
    )
    pass_at_k_split: Literal["heldout", "validation"] = _option(
        "heldout",
        "Which problems pass@k is measured on: `validation` ones are for choosing hyper-parameters.",
        "evaluation",
    )
    pass_at_k_samples: int | None = _option(
        None,
        "Responses drawn per held-out problem for the sampled pass@k (the largest k it can estimate); 0: exact only.",
        "evaluation",
        _OR_NEVER,
    )
    pass_at_k_problems: int | None = _option(None, "Held-out problems evaluated (default: all).", "evaluation", _COUNT)


if TYPE_CHECKING:

    class RunArguments(SharedArguments):
        """All of our options: the shared ones, and every method's as `<method>_<option>`."""

        def __init__(self, **options: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

else:
    RunArguments = make_dataclass(
        "RunArguments",
        [
            (
                name,
                option.type if option.default is not None else Optional[option.type],  # noqa: UP045
                field(default=option.default, metadata={"help": Help(option.help, "method", option.limits, method)}),
            )
            for name, (method, option) in method_options().items()
        ],
        bases=(SharedArguments,),
        namespace={"__doc__": "All of our options: the shared ones, and every method's as `<method>_<option>`."},
    )
    RunArguments.__module__ = __name__


@dataclass(frozen=True)
class OwnOption:
    """One of our options, as help, checks and completion read it.

    Attributes:
        name: without dashes.
        type: of its value.
        default: its value where nothing is given; None where the recipe gives it.
        help: what it is.
        group: a key of `GROUPS`.
        limits: the range of a number, or None.
        method: the method it belongs to, or None.
    """

    name: str
    type: Any
    default: Any
    help: str
    group: str
    limits: Limits | None
    method: str | None


@cache
def own_options() -> Mapping[str, OwnOption]:
    """Our options by name, in the order of the help; worked out once, since a study asks a thousand times."""
    types = get_type_hints(RunArguments)
    options = []
    for name, entry in RunArguments.__dataclass_fields__.items():
        about: Help = entry.metadata["help"]
        options.append(OwnOption(name, types[name], entry.default, str(about), about.group, about.limits, about.method))
    order = list(GROUPS)
    options.sort(key=lambda option: order.index(option.group))
    return MappingProxyType({option.name: option for option in options})


RECIPE_KEYS = (
    "probe_tau",
    "simko_alpha",
    "simko_k",
    "simko_tau",
    "simko_lambda",
    "pass_at_k_steps",
    "pass_at_k_samples",
)
"""Own options that every recipe must set."""

RENAMED = {
    "dapo_rounds": "dynamic_sampling_rounds",
    "kl_cov_share": "kl_cov_ratio",
    "clip_cov_share": "clip_cov_ratio",
    "simko_half": "simko_terms",
    "probe_responses": "probe_response_fraction",
}
"""Old spelling → new one: refused by name where a person types it, read where an older run recorded it."""
