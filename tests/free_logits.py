"""A causal language model whose logits are a free tensor, and a trainer around it: TRL's loss as a function of logits.

The hidden state of row b at position t is `table[b, t]` and the head is the identity, so the gradient by the table is
the gradient by the logits. Prompts have two columns, of which the second row's first is padding.
"""

from __future__ import annotations

from typing import Any

import torch
from simko.probes.head.ranked_head import add_ranked_head
from simko.trainers.engine.trainer import RIGHT, WRONG, RankedGRPOTrainer
from simko.trainers.options.arguments import RunArguments
from simko.trainers.options.methods import METHODS, objective_of
from tiny import config, first_is_even, prompts, tokenizer
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import BaseModelOutputWithPast

PROMPT = 2
ROOM = 8  # positions the ranked head looks at when it checks a model


class _Table(torch.nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        rows, width, vocabulary = logits.shape
        table = logits.new_zeros(rows, max(ROOM, PROMPT + width), vocabulary)
        table[:, PROMPT - 1 : PROMPT - 1 + width] = logits
        self.table = torch.nn.Parameter(table)
        self.embed_tokens = torch.nn.Embedding(vocabulary, 1)  # what makes it a language model to transformers

    def forward(self, input_ids: torch.Tensor, **_: Any) -> BaseModelOutputWithPast:
        rows, width = input_ids.shape
        return BaseModelOutputWithPast(last_hidden_state=self.table[:rows, :width])


class FreeLogits(LlamaForCausalLM):
    """`logits` (B, T, V) of the completions are parameters, in their own precision."""

    def __init__(self, logits: torch.Tensor) -> None:
        vocabulary = logits.size(-1)
        super().__init__(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=vocabulary,
                head_dim=2,
                num_attention_heads=1,
                num_hidden_layers=0,
                intermediate_size=2,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
            )
        )
        self.model = _Table(logits)
        self.lm_head.weight.data = torch.eye(vocabulary, dtype=logits.dtype)


def trainer_on(logits: torch.Tensor, run: RunArguments, folder: Any, *, float64: bool = True, **overrides: Any) -> Any:
    """Our trainer with a method's objective and TRL settings, around free logits of B completions of T tokens.

    Args:
        logits: (B, T, V); T is also the longest completion.
        run: the method and its options.
        folder: of the trainer.
        float64: score by the ranked head, which keeps the precision of the logits; TRL's own head works in float32.
        **overrides: TRL options instead of the method's.
    """
    rows, width, _ = logits.shape
    settings = {
        "per_device_train_batch_size": 2,
        "num_generations": 2,
        "steps_per_generation": 1,
        "max_completion_length": width,
        **METHODS[run.method].config,
        **overrides,
    }
    assert rows in (1, 2)
    trainer = RankedGRPOTrainer(
        FreeLogits(logits),
        first_is_even,
        config(folder, **settings),
        prompts(),
        processing_class=tokenizer(),
        objective=objective_of(run),
    )
    if float64:
        add_ranked_head(trainer.model, k=3, temperature=trainer.temperature)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def trl_loss_and_gradient(
    trainer: Any,
    token: torch.Tensor,
    log_ratio: torch.Tensor,
    mask: torch.Tensor,
    advantages: torch.Tensor,
    right: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`GRPOTrainer._compute_loss` of hand-made completions and its gradient by their logits (B, T, V).

    `log_ratio` (B, T) is how far the policy has moved from the old one, whose log-probabilities come from the same
    head: where it is 0 they are equal to the last bit, as KL-Cov needs (|log γ| has a kink there).
    """
    rows, width = token.shape
    prompt_mask = torch.tensor([[1, 1], [0, 1]])[:rows]
    inputs = {
        "prompt_ids": torch.tensor([[1, 3]] * rows) * prompt_mask,
        "prompt_mask": prompt_mask,
        "completion_ids": token,
        "completion_mask": mask.long(),
        "advantages": advantages,
        "num_items_in_batch": mask.sum(),
        "response_id": torch.arange(rows),
        "verdict": torch.where(right, RIGHT, WRONG),
    }
    whole = [torch.cat([inputs[f"prompt_{part}"], inputs[f"completion_{part}"]], 1) for part in ("ids", "mask")]
    with torch.no_grad():
        logprob, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, *whole, width)
    inputs["old_per_token_logps"] = logprob - log_ratio
    loss = trainer._compute_loss(trainer.model, inputs)
    table = trainer.model.model.table
    gradient = torch.autograd.grad(loss, table)[0]
    elsewhere = torch.ones(table.size(1), dtype=torch.bool)
    elsewhere[PROMPT - 1 : PROMPT - 1 + width] = False
    assert not gradient[:, elsewhere].any()
    return loss.detach(), gradient[:, PROMPT - 1 : PROMPT - 1 + width]
