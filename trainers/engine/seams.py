"""What the adapter leans on in TRL beyond its public interface, checked when it is imported."""

from __future__ import annotations

import inspect

from trl import GRPOTrainer

_SEAMS = {
    "_compute_loss": ("self", "model", "inputs"),
    "_generate_and_score_completions": ("self", "inputs"),
    "_calculate_rewards": ("self", "inputs", "prompts", "completions", "completion_ids_list"),
}
for _name, _expected in _SEAMS.items():
    if tuple(inspect.signature(getattr(GRPOTrainer, _name)).parameters) != _expected:
        raise ImportError(f"GRPOTrainer.{_name} has changed its signature; this version of simko needs trl>=1.16,<1.17")

_TEXT_INPUTS = {"self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"}
IMAGE_INPUTS = [
    name
    for name in inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
    if name not in _TEXT_INPUTS and not name.startswith("compute_")
]
"""Inputs of a scored micro-batch that only models of images have."""
SAMPLER_LOGPROB = "sampling_per_token_logps"
"""Where TRL carries the log-probabilities (N, T) that vLLM or a `rollout_func` reported with the tokens: NaN where one
was missing, padded with 0 on the right."""
