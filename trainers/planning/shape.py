"""The sizes of a model, read from its configuration without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelShape:
    """What memory and cost follow from.

    Attributes:
        parameters: weights, tied ones counted once.
        linear: (rows, columns) of every linear layer but the LM head: what `all-linear` adapters are put on.
        layers, hidden, vocabulary: sizes.
        kv_width: numbers per token and layer in the cache of keys and values.
    """

    parameters: int
    linear: tuple[tuple[int, int], ...]
    layers: int
    hidden: int
    vocabulary: int
    kv_width: int

    def trained(self, run: Any) -> int:
        """Parameters that are trained: all, or those of the adapters (all-linear is assumed for other choices)."""
        if run.lora_r is None:
            return self.parameters
        return sum(run.lora_r * (rows + columns) for rows, columns in self.linear)


def shape_of(config: Any) -> ModelShape:
    """The sizes of a causal language model of a configuration; built on the meta device, so that it takes no memory."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    head = model.get_output_embeddings()
    linear = tuple(
        (module.weight.shape[0], module.weight.shape[1])
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        linear=linear,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
        kv_width=2 * heads * width,
    )
