"""The options of `simko-train` that are ours; every other option is TRL's `GRPOConfig`, under TRL's own names.

Light on purpose: `simko-train --help` reads this file without importing torch. An option left at None takes the value
of the task's recipe (`recipes/<task>.yaml`), where real models get the paper's values and the built-in task gets values
that matter at its size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass
class RunArguments:
    """What to train, by which method, and what to log."""

    method: str = _option(
        "simko",
        "Training method: simko, grpo, psr, nsr, w_reinforce, kl_cov, clip_cov, entropy_adv, entropy_loss, "
        "forking_tokens, passk_training, pkpo, dr_grpo, dapo, gspo or cispo.",
    )
    task: Literal["countdown", "countdown4", "tree", "gsm8k", "math"] | None = _option(
        None,
        "What is trained: `countdown` (the default), `countdown4` or `tree`, all built in, `gsm8k` or `math`.",
    )
    model: str | None = _option(
        None, "Hub id, local checkpoint folder or .gguf file; default: the tiny policy of the built-in task."
    )
    dataset: str | None = _option(
        None, "Hub id or local .parquet/.jsonl/.json file of problems; default: the task's own data set."
    )
    eval_dataset: str | None = _option(
        None, "Held-out problems for pass@k, given like --dataset; countdown has its own held-out split."
    )
    probe: bool = _option(False, "Log per-token ranked statistics, roll-ups and pass@k to Parquet in the run's folder.")
    probe_k: int = _option(5, "Ranked candidates logged per token.")
    probe_every: int = _option(1, "Steps between those whose token rows are written; roll-ups are of every step.")
    probe_response_fraction: float = _option(
        1.0, "Fraction of responses whose token rows are written; roll-ups are of all."
    )
    probe_precision: Literal["float32", "bfloat16"] = _option(
        "float32", "How exactly token rows hold the candidates' log-probabilities; bfloat16 takes a third less room."
    )
    probe_compact: bool = _option(True, "Merge the log's small files into large ones when the run ends.")
    probe_tau: float | None = _option(None, "Entropy quantile above which the log calls a token a fork.")
    probe_rescore: int = _option(
        0, "Optimizer steps between those whose tokens are scored again, to log what the step did to them; 0: never."
    )
    simko_alpha: float | None = _option(None, "α: weight of the top-K smoothing at forks of right answers.")
    simko_k: int | None = _option(None, "K: ranked candidates that share it.")
    simko_tau: float | None = _option(None, "τ: per-response entropy quantile above which a token is a fork.")
    simko_lambda: float | None = _option(None, "λ: factor on the rank-1 penalty at forks of wrong answers.")
    simko_terms: Literal["both", "positive", "negative"] = _option("both", "Train with one half of SimKO alone.")
    simko_lambda_on: Literal["advantage", "ratio"] = _option(
        "advantage", "λ on the advantage (released code) or on the ratio before clipping (paper)."
    )
    simko_weighting: Literal["uniform", "softmax"] = _option(
        "uniform", "Share of the K candidates: equal, or by their probability."
    )
    simko_warmup_steps: int = _option(0, "Optimizer steps of plain GRPO before SimKO sets in.")
    w_reinforce_lambda: float = _option(0.1, "Weight of right answers.")
    kl_cov_ratio: float = _option(2e-3, "Share of tokens penalised.")
    kl_cov_beta: float = _option(1.0, "Weight of the penalty.")
    clip_cov_ratio: float = _option(2e-4, "Share of tokens taken out of the loss.")
    clip_cov_low: float = _option(1.0, "Lower bound of a candidate's covariance.")
    clip_cov_high: float = _option(5.0, "Upper bound of a candidate's covariance.")
    entropy_adv_alpha: float = _option(0.4, "Weight of the entropy.")
    entropy_adv_kappa: float = _option(2.0, "The bonus is at most |A|/κ.")
    forking_tokens_rho: float = _option(0.2, "Share of tokens trained on.")
    dapo_rounds: int = _option(
        3, "Rounds of generation at most to fill a batch with groups whose rewards differ; 1: take them as they come."
    )
    passk_training_k: int = _option(4, "k of the pass@k that is trained.")
    pkpo_k: int = _option(4, "k of the max@k that is trained.")
    pass_at_k_steps: int | None = _option(
        None, "Optimizer steps between pass@k evaluations (also before the first and after the last); 0: never."
    )
    pass_at_k_split: Literal["heldout", "validation"] = _option(
        "heldout", "Which problems pass@k is measured on: `validation` ones are for choosing hyper-parameters."
    )
    pass_at_k_samples: int | None = _option(
        None, "Responses drawn per held-out problem for the sampled pass@k (the largest k it can tell); 0: exact only."
    )
    pass_at_k_problems: int | None = _option(None, "Held-out problems evaluated (default: all).")
    resume: str | None = _option(
        None,
        "A run's folder to continue from its latest checkpoint, with the options it was started with; or one of its "
        "checkpoint folders, to go back to that step.",
    )


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
