"""Who draws the rollouts, and what the log-probabilities mean that come with them: an entry of `run.json`."""

from __future__ import annotations

from typing import Any

_FILTERS = ("top_p", "top_k", "min_p", "repetition_penalty")


def sampler_description(trainer: Any) -> dict[str, Any]:
    """The entry `sampler`.

    `engine` is `vllm server`, `vllm colocate`, `rollout_func` or `transformers`. `logprobs` says what is in
    `tokens.sampler_logprob`: `processed` (after temperature and filters, renormalised), `raw`, `own` (whatever the
    `rollout_func` returns), or `none`.

    Args:
        trainer: a `GRPOTrainer`.
    """
    args = trainer.args
    engine, logprobs = "transformers", "none"
    if trainer.rollout_func is not None:
        engine, logprobs = "rollout_func", "own"
    elif trainer.use_vllm:
        engine, logprobs = f"vllm {args.vllm_mode}", "processed"  # TRL sets the mode of an engine that it starts
        if args.vllm_mode == "server" and trainer.accelerator.is_main_process:
            about = trainer.vllm_generation.vllm_client.get_server_info()["model_config"]
            logprobs = str(about["logprobs_mode"]).removesuffix("_logprobs")
    filters = {name: getattr(args, name) for name in _FILTERS}
    return {"engine": engine, "logprobs": logprobs, "temperature": trainer.temperature, **filters}
