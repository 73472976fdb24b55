r"""Builds the built-in base policy of the countdown task, about a minute on one CPU core.

    python -m simko.trainers.base_policy.build --output DIR [--seed 0]

A two-layer Llama (107 968 parameters) with one token a word, supervised on the training problems: 70 % random right
answers, 30 % random expressions over the right numbers, most of them wrong. Such a policy of mixed quality has a low
pass@1 and a high pass@256: it has something to gain and something to lose in RL. The same seed on the same machine and
library versions gives the same weights; one thread is used whatever the machine offers.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..tasks.countdown import MAX_COMPLETION_LENGTH, OPERATORS, TARGETS, Problem, expressions, split

STEPS = 1200
BATCH = 256
LEARNING_RATE = 2e-3
RIGHT_SHARE = 0.7

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
VOCABULARY = (PAD, BOS, EOS, UNKNOWN, *map(str, TARGETS), *OPERATORS)
"""57 words, one token each."""


def build_tokenizer() -> Any:
    """One token a word, words separated by blanks; `<bos>` is put before every text, as Llama's tokenizers do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, VOCABULARY.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=64,
        clean_up_tokenization_spaces=False,
    )


def build_model(seed: int) -> Any:
    """The untrained policy: 2 layers, d = 64, 4 heads."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        intermediate_size=176,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        pad_token_id=VOCABULARY.index(PAD),
        bos_token_id=VOCABULARY.index(BOS),
        eos_token_id=VOCABULARY.index(EOS),
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        max_new_tokens=MAX_COMPLETION_LENGTH,
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
    )
    return model


def _sample(problems: Sequence[Problem], chance: random.Random) -> tuple[str, str]:
    """A (prompt, response) pair of the supervised mixture."""
    problem = chance.choice(problems)
    right = chance.random() < RIGHT_SHARE
    response = chance.choice(problem.answers if right else list(expressions(problem.numbers)))
    return problem.prompt, response


def train(seed: int, steps: int = STEPS) -> tuple[Any, Any]:
    """Train the policy.

    Returns:
        (model, tokenizer).
    """
    tokenizer, model = build_tokenizer(), build_model(seed)
    problems, _ = split()
    chance = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        pairs = [_sample(problems, chance) for _ in range(BATCH)]
        ids = tokenizer([f"{prompt} {response} {EOS}" for prompt, response in pairs], return_tensors="pt")["input_ids"]
        n_prompt = 5  # <bos> a b c target; the rest is scored
        logits = model(input_ids=ids[:, :-1]).logits[:, n_prompt - 1 :]
        loss = F.cross_entropy(logits.reshape(-1, logits.size(-1)), ids[:, n_prompt:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval(), tokenizer


def build(output: Path, seed: int = 0) -> None:
    """Train and save a checkpoint that `AutoModelForCausalLM` and `AutoTokenizer` load."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and with it the weights, depends on the number of threads
    try:
        model, tokenizer = train(seed)
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    for path in output.iterdir():
        path.chmod(0o644)  # safetensors are saved for their owner alone, which a shipped file must not be


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m simko.trainers.base_policy.build", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--output", type=Path, required=True, help="folder of the new checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    started = time.perf_counter()
    build(options.output, options.seed)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{options.output}: {size / 1e3:.0f} kB in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
