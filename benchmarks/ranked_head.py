"""How near the statistics of a token are to one read of its logits, and the ranked head to TRL's own.

    python benchmarks/ranked_head.py [--rounds 7]

Logits are random with a few likely candidates a row, tokens are sampled from them. The heads are those of a Llama of no
layers to speak of, so that the head is what is measured: forward and backward of log-probabilities and entropies.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from measure import Pages, Variants, interleaved, ratio
from simko.probes.head.ranked_head import add_ranked_head
from simko.probes.statistics.ranked_statistics import ranked_statistics
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

K = 5
TOKENS = 256


def logits_and_labels(rows: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = 3 * torch.randn(rows, vocabulary)
    likely = torch.randint(vocabulary, (rows, 4))
    x[torch.arange(rows)[:, None], likely] += torch.tensor([16.0, 14.0, 12.0, 11.0])
    return x, torch.multinomial(torch.softmax(x, -1), 1)[:, 0]


def naive(x: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    """Every statistic by its formula."""
    logp = torch.log_softmax(x.float(), -1)
    p = logp.exp()
    top = logp.topk(K)
    sampled = logp.gather(1, labels[:, None])
    return [-(p * logp).sum(-1), (p * p).sum(-1), top.values, top.indices, sampled, (logp > sampled).sum(1) + 1]


def expanded(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Top-K log-probabilities as the released SimKO code has them: the logits expanded K times, a cross-entropy."""
    top = x.topk(K).indices
    wide = x.unsqueeze(1).expand(-1, K, -1).reshape(-1, x.size(1))
    return -torch.nn.functional.cross_entropy(wide, top.flatten(), reduction="none")


def statistics_group(rows: int, vocabulary: int) -> Variants:
    x, labels = logits_and_labels(rows, vocabulary)
    half = x.bfloat16()
    return {
        "one read of the logits (`amax`)": lambda: x.amax(-1),
        "every statistic by its formula": lambda: naive(x, labels),
        "top-K log-probs by K-fold expansion, nothing else": lambda: expanded(x, labels),
        "`ranked_statistics`": lambda: ranked_statistics(x, labels, K, backend="eager"),
        "`ranked_statistics`, compiled": lambda: ranked_statistics(x, labels, K, backend="compile"),
        "`ranked_statistics`, bfloat16 logits": lambda: ranked_statistics(half, labels, K, backend="eager"),
    }


def head_group() -> Variants:
    torch.manual_seed(0)
    shape = {"hidden_size": 576, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 9}
    config = LlamaConfig(vocab_size=49_152, num_key_value_heads=3, **shape)
    stock, ranked, whole = (LlamaForCausalLM(config).train() for _ in range(3))
    add_fused_lm_head(stock, outputs=("log_probs", "entropy", "log_sum_sq_probs", "is_top1"))
    add_ranked_head(ranked, k=K)
    ids = torch.randint(49_152, (4, TOKENS // 4 + 1))

    def run(model: Any, **how: Any) -> Any:
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, **how)

    def fused(model: Any, **how: Any) -> Callable[[], None]:
        def work() -> None:
            output = run(model, **how)
            (output.log_probs.sum() + output.entropy.sum()).backward()

        return work

    def official() -> None:
        """As the released code: whole logits, top-K log-probs by expansion, log-probs and entropy."""
        logits = run(whole).logits[:, :-1].flatten(0, 1)
        logp = torch.log_softmax(logits, -1)
        entropy = -(logp.exp() * logp).sum(-1)
        sampled = logp.gather(1, ids[:, 1:].reshape(-1, 1))
        (sampled.sum() + entropy.sum() + expanded(logits, ids).sum()).backward()

    return {
        "TRL's fused head: log-probs, entropies": fused(stock, fused_lm_head=True),
        f"ranked head: those, and K = {K} with gradient, ranks, Σp²": fused(ranked, ranked=True),
        "whole logits and the K-fold expansion": official,
    }


def report(pages: Pages, rounds: int) -> None:
    for rows, vocabulary in ((256, 49_152), (96, 152_064)):
        seconds = interleaved(statistics_group(rows, vocabulary), rounds)
        floor, formula = list(seconds.values())[:2]
        table = [
            [name, f"{1e6 * min(each) / rows:.0f} µs", ratio(each, floor), ratio(formula, each)]
            for name, each in seconds.items()
        ]
        heads = ["", "per token", "× one read", "times faster than the formula"]
        pages.table(f"Statistics of ready logits, vocabulary {vocabulary}, K = {K}", heads, table)
    seconds = interleaved(head_group(), rounds)
    baseline = next(iter(seconds.values()))
    table = [[name, f"{1e6 * min(s) / TOKENS:.0f} µs", ratio(s, baseline)] for name, s in seconds.items()]
    pages.table("Heads, forward and backward, vocabulary 49152, hidden size 576", ["", "per token", "× TRL's"], table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report(Pages(), options.rounds)


if __name__ == "__main__":
    main()
