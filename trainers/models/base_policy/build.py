r"""Builds the base policies of the built-in tasks, one to three minutes each on one CPU core (the tree's: a second).

    python -m simko.trainers.models.base_policy.build --output DIR [--task countdown] [--seed 0] [--right_share 0.7]

For Countdown a two-layer Llama (107 968 parameters) with one token a word, supervised on the training problems: 70 %
random right answers, 30 % random expressions over the right numbers, most of them wrong. Such a policy of mixed quality
has a low pass@1 and a high pass@256: it has something to gain and something to lose in RL. For the tree a one-layer
Llama that has seen random paths alone: close to uniform over them.

The same seed on the same machine and library versions gives the same weights; one thread is used whatever the machine
offers.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ...tasks import tree
from ...tasks.countdown import OPERATORS, TARGETS, Problem, expressions, max_completion_length, split

BATCH = 256
LEARNING_RATE = 2e-3
RIGHT_SHARE = 0.7
HEADS = 4

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIAL = (PAD, BOS, EOS, UNKNOWN)
VOCABULARY = (*SPECIAL, *map(str, TARGETS), *OPERATORS)
"""Countdown's 57 words, one token each."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Recipe:
    """How the policy of a task is made.

    Attributes:
        vocabulary: its words, one token each.
        prompt_tokens: tokens of a prompt with its `<bos>`; the rest of a text is learned.
        max_new_tokens: longest response.
        layers, hidden, intermediate: of the Llama.
        steps: of supervision.
        sampler: from a share of right answers to a function that draws a (prompt, response) pair.
    """

    vocabulary: tuple[str, ...]
    prompt_tokens: int
    max_new_tokens: int
    layers: int
    hidden: int
    intermediate: int
    steps: int
    sampler: Callable[[float], Callable[[random.Random], Pair]]


def _countdown(count: int) -> Recipe:
    def sampler(right_share: float) -> Callable[[random.Random], Pair]:
        rows = split(count).train
        return lambda chance: _sample(rows, chance, right_share)

    return Recipe(VOCABULARY, count + 2, max_completion_length(count), 2, 64, 176, 1200, sampler)


def _tree_path(chance: random.Random) -> Pair:
    return tree.PROMPT, " ".join(chance.choice(tree.ACTIONS) for _ in range(tree.DEPTH))


RECIPES = {
    "countdown": _countdown(3),
    "countdown4": _countdown(4),
    "tree": Recipe(
        (*SPECIAL, tree.PROMPT, *tree.ACTIONS), 2, tree.Tree.max_completion_length, 1, 32, 64, 100, lambda _: _tree_path
    ),
}


def build_tokenizer(task: str = "countdown") -> Any:
    """One token a word, words separated by blanks; `<bos>` is put before every text, as Llama's tokenizers do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = RECIPES[task].vocabulary
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, vocabulary.index(BOS))]
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


def build_model(seed: int, task: str = "countdown", *, heads: int = HEADS) -> Any:
    """The untrained policy of a task."""
    torch.manual_seed(seed)
    recipe = RECIPES[task]
    config = LlamaConfig(
        vocab_size=len(recipe.vocabulary),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        pad_token_id=recipe.vocabulary.index(PAD),
        bos_token_id=recipe.vocabulary.index(BOS),
        eos_token_id=recipe.vocabulary.index(EOS),
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        max_new_tokens=recipe.max_new_tokens,
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
    )
    return model


def _sample(problems: Sequence[Problem], chance: random.Random, right_share: float = RIGHT_SHARE) -> Pair:
    """A (prompt, response) pair of the supervised mixture."""
    problem = chance.choice(problems)
    right = chance.random() < right_share
    response = chance.choice(problem.answers if right else expressions(problem.numbers))
    return problem.prompt, response


def train(
    seed: int,
    steps: int | None = None,
    *,
    task: str = "countdown",
    right_share: float = RIGHT_SHARE,
    heads: int = HEADS,
) -> tuple[Any, Any]:
    """Train a policy.

    Args:
        seed: of the weights and the draws.
        steps: of supervision; default: the recipe's.
        task: `countdown`, `countdown4` or `tree`.
        right_share: share of right answers in what it is shown.
        heads: of the Llama. vLLM has no attention on a CPU for heads of 16; with 2 they have 32.

    Returns:
        (model, tokenizer).
    """
    recipe = RECIPES[task]
    steps = recipe.steps if steps is None else steps
    tokenizer, model = build_tokenizer(task), build_model(seed, task, heads=heads)
    sample, chance = recipe.sampler(right_share), random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        pairs = [sample(chance) for _ in range(BATCH)]
        ids = tokenizer([f"{prompt} {response} {EOS}" for prompt, response in pairs], return_tensors="pt")["input_ids"]
        logits = model(input_ids=ids[:, :-1]).logits[:, recipe.prompt_tokens - 1 :]
        loss = F.cross_entropy(logits.reshape(-1, logits.size(-1)), ids[:, recipe.prompt_tokens :].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval(), tokenizer


def build(output: Path, seed: int = 0, *, task: str = "countdown", right_share: float = RIGHT_SHARE) -> None:
    """Train and save a checkpoint that `AutoModelForCausalLM` and `AutoTokenizer` load."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and with it the weights, depends on the number of threads
    try:
        model, tokenizer = train(seed, task=task, right_share=right_share)
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    for path in output.iterdir():
        path.chmod(0o644)  # safetensors are saved for their owner alone, which a shipped file must not be


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m simko.trainers.models.base_policy.build", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--output", type=Path, required=True, help="folder of the new checkpoint")
    parser.add_argument("--task", choices=tuple(RECIPES), default="countdown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--right_share", type=float, default=RIGHT_SHARE, help="share of right answers it is shown")
    options = parser.parse_args(argv)
    started = time.perf_counter()
    build(options.output, options.seed, task=options.task, right_share=options.right_share)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{options.output}: {size / 1e3:.0f} kB in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
