"""What several rooms' tests share: a tiny random Llama and a word-level tokenizer, made here, never downloaded."""

from __future__ import annotations

import pytest


@pytest.fixture
def tiny_tokenizer():
    """Words `0`…`15` beside pad, bos and eos: 19 tokens; pad is not eos."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<bos>", "<eos>", *(str(i) for i in range(16))]
    model = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", padding_side="left"
    )


@pytest.fixture
def tiny_llama():
    """A factory of identical randomly initialised Llamas: 2 layers, d=16, V=19, untied head; keyword overrides."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def build(seed: int = 0, **overrides):
        torch.manual_seed(seed)
        settings = {
            "vocab_size": 19,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "initializer_range": 0.3,
        }
        return LlamaForCausalLM(LlamaConfig(**(settings | overrides)))

    return build
