"""A tiny random Llama, a word-level tokenizer and a graded reward: made here, never downloaded."""

from __future__ import annotations

from typing import Any


def tokenizer() -> Any:
    """Words `0`…`15` beside pad, bos and eos: 19 tokens; pad is not eos."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<bos>", "<eos>", *(str(i) for i in range(16))]
    model = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", padding_side="left"
    )


def llama(seed: int = 0, **overrides: Any) -> Any:
    """Identical randomly initialised Llamas: 2 layers, d=16, V=19, untied head."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

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


def prompts() -> Any:
    """Sixteen prompts `a b a+b`."""
    from datasets import Dataset

    return Dataset.from_dict(
        {"prompt": [f"{a} {b} {a + b}" for a in range(4) for b in range(4)], "prompt_id": [str(i) for i in range(16)]}
    )


def even_share(completions: list[str], **_: Any) -> list[float]:
    """The share of even numbers in a completion: 1.0 (right) when all are."""
    return [sum(w.isdigit() and int(w) % 2 == 0 for w in c.split()) / max(1, len(c.split())) for c in completions]


def first_is_even(completions: list[str], **_: Any) -> list[float]:
    """Right (1.0) or wrong (0.0): whether the first word is an even number."""
    return [float(bool(c.split()) and c.split()[0].isdigit() and int(c.split()[0]) % 2 == 0) for c in completions]


def config(folder: Any, **overrides: Any) -> Any:
    """Four logged steps on the CPU in float32, two mini-batches a rollout batch."""
    from trl import GRPOConfig

    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 16,
        "steps_per_generation": 2,
        "gradient_accumulation_steps": 1,
        "num_generations": 4,
        "max_completion_length": 6,
        "max_steps": 4,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 3,
        "use_cpu": True,
    }
    return GRPOConfig(**(settings | overrides))


def history(trainer: Any) -> list[dict[str, float]]:
    """The logged figures that stock TRL has too, without the timings."""
    timing = ("time", "runtime", "per_second", "flos", "simko/")
    return [
        {k: v for k, v in row.items() if isinstance(v, float) and not any(t in k for t in timing)}
        for row in trainer.state.log_history
    ]


def assert_same_history(ours: list[dict[str, float]], stock: list[dict[str, float]]) -> None:
    """Equal to the four digits a trainer prints: less than one unit of the last of them."""
    import pytest

    assert len(ours) == len(stock)
    for mine, theirs in zip(ours, stock, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-6)
