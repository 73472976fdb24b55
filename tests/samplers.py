"""A sampler of its own for TRL's `rollout_func`: a copy of the policy that draws responses and reports log-probs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def rollouts(sampler: Any = None, *, temperature: float = 1.0, **options: Any) -> Callable[[list[str], Any], Any]:
    """A `rollout_func` whose log-probs are processed: after temperature and filters, renormalised.

    Args:
        sampler: the model that draws; None is the trainer's own, as it stands.
        temperature: what it divides logits by.
        **options: of `generate`, as top_p.
    """

    @torch.no_grad()
    def draw(prompts: list[str], trainer: Any) -> dict[str, Any]:
        model = trainer.accelerator.unwrap_model(trainer.model) if sampler is None else sampler
        tokenizer = trainer.processing_class
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        training = model.training
        model.eval()
        drawn = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=trainer.max_completion_length,
            do_sample=True,
            temperature=temperature,
            top_k=options.pop("top_k", 0),
            output_scores=True,
            return_dict_in_generate=True,
            **options,
        )
        model.train(training)
        ids = drawn.sequences[:, batch["input_ids"].size(1) :]
        reported = torch.stack(drawn.scores, 1).float().log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
        ends = (ids == tokenizer.eos_token_id).int()
        length = torch.where(ends.any(1), ends.argmax(1) + 1, ids.size(1)).tolist()
        prompt_ids = [p[m.bool()].tolist() for p, m in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": [row[:n].tolist() for row, n in zip(ids, length, strict=True)],
            "logprobs": [row[:n].tolist() for row, n in zip(reported, length, strict=True)],
        }

    return draw
