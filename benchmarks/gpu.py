"""The statistics pass and the ranked head on a GPU: time and peak memory, against the formula and TRL's fused head.

    python benchmarks/gpu.py [--tokens 4096] [--rounds 10]

Prints Markdown tables with the device's name. Without a CUDA device it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from ranked_head import K, expanded, naive
from simko.probes.head.ranked_head import add_ranked_head
from simko.probes.statistics.backends import Backend
from simko.probes.statistics.logit_transform import LogitTransform
from simko.probes.statistics.ranked_statistics import ranked_statistics
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

VOCABULARIES = (49_152, 128_256, 152_064)
WIDTHS = (576, 4096)


def measured(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median milliseconds and peak MiB beyond what was allocated before."""
    for _ in range(3):  # compiles and tunes
        work()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, took = torch.cuda.memory_allocated(), []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        took.append(start.elapsed_time(end))
    return statistics.median(took), (torch.cuda.max_memory_allocated() - before) / 2**20


def show(title: str, variants: dict[str, Callable[[], object]], rounds: int) -> None:
    print(f"\n## {title}\n\n| | ms | × the first | peak MiB |\n|---|---:|---:|---:|")
    baseline = None
    for name, work in variants.items():
        try:
            took, peak = measured(work, rounds)
        except torch.OutOfMemoryError:
            print(f"| {name} | out of memory | | |")
            torch.cuda.empty_cache()
            continue
        baseline = baseline or took
        print(f"| {name} | {took:.2f} | {took / baseline:.2f} | {peak:.0f} |")


def from_logits(tokens: int, vocabulary: int) -> dict[str, Callable[[], object]]:
    x = torch.randn(tokens, vocabulary, device="cuda", dtype=torch.bfloat16) * 3
    labels = torch.randint(vocabulary, (tokens,), device="cuda")
    asked = x.clone().requires_grad_()

    def ours(backend: Backend) -> Callable[[], object]:
        return lambda: ranked_statistics(x, labels, K, LogitTransform(), None, backend)

    def with_gradient(backend: Backend) -> Callable[[], object]:
        def work() -> None:
            stats = ranked_statistics(asked, labels, K, LogitTransform(), None, backend)
            (stats.logprob.sum() + stats.entropy.sum() + stats.top_logprob.sum()).backward()
            asked.grad = None

        return work

    return {
        "one read of the logits (`amax`)": lambda: x.amax(-1),
        "every statistic by its formula": lambda: naive(x, labels),
        "top-K log-probs by K-fold expansion": lambda: expanded(x, labels),
        "eager": ours("eager"),
        "compile": ours("compile"),
        "triton": ours("triton"),
        "eager, forward and backward": with_gradient("eager"),
        "triton, forward and backward": with_gradient("triton"),
    }


def heads(tokens: int, vocabulary: int, width: int) -> dict[str, Callable[[], object]]:
    shape = {"hidden_size": width, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 8}
    config = LlamaConfig(vocab_size=vocabulary, num_key_value_heads=8, **shape)
    stock, ranked = (LlamaForCausalLM(config).to("cuda", torch.bfloat16).train() for _ in range(2))
    add_fused_lm_head(stock, outputs=("log_probs", "entropy", "log_sum_sq_probs", "is_top1"))
    add_ranked_head(ranked, k=K)
    ids = torch.randint(vocabulary, (8, tokens // 8 + 1), device="cuda")

    def work(model: LlamaForCausalLM, **how: bool) -> Callable[[], None]:
        def run() -> None:
            output = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, **how)
            (output.log_probs.sum() + output.entropy.sum()).backward()
            model.zero_grad(set_to_none=True)

        return run

    return {
        "TRL's fused head: log-probs, entropies": work(stock, fused_lm_head=True),
        f"ranked head: those, and K = {K} with gradient, ranks, Σp²": work(ranked, ranked=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured (the CPU's figures: python benchmarks/ranked_head.py)")
        return
    print(f"# {torch.cuda.get_device_name()}, torch {torch.__version__}, {options.tokens} tokens, bfloat16")
    for vocabulary in VOCABULARIES:
        show(f"Ready logits, vocabulary {vocabulary}", from_logits(options.tokens, vocabulary), options.rounds)
        for width in WIDTHS:
            title = f"Heads, forward and backward, vocabulary {vocabulary}, hidden size {width}"
            show(title, heads(options.tokens, vocabulary, width), options.rounds)


if __name__ == "__main__":
    main()
