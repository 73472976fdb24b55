"""Logits that try the ranked statistics: peaked, tied, masked, half-precision, of large vocabularies."""

from __future__ import annotations

import torch


def random_logits(n, v, scale=3.0, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(n, v, generator=generator) * scale).to(dtype)
    return logits, torch.randint(v, (n,), generator=generator)


def masked(logits, labels, keep):
    """All but `keep` entries of each row at -inf; the label stays."""
    order = torch.rand(logits.shape, generator=torch.Generator().manual_seed(5)).argsort(1)
    logits = logits.masked_fill(order >= keep, -torch.inf)
    return logits.scatter(1, labels[:, None], 0.5), labels


def cases():
    yield "random", *random_logits(20, 5003), 5
    yield "peaked", *random_logits(20, 700, scale=60.0), 5
    yield "far from zero", *((lambda x, y: (x + 500, y))(*random_logits(20, 700))), 5
    yield "tied", *((lambda x, y: (x.round(), y))(*random_logits(40, 4111, scale=1.5))), 7
    yield "all equal", torch.zeros(3, 900), torch.tensor([0, 899, 450]), 5
    yield "bfloat16", *random_logits(40, 5003, dtype=torch.bfloat16), 20
    yield "float16", *random_logits(20, 301, dtype=torch.float16), 5
    yield "masked", *masked(*random_logits(20, 4111), keep=9), 5
    yield "fewer finite than K", *masked(*random_logits(20, 50), keep=3), 8
    yield "K = V", *random_logits(6, 9), 9
    yield "V = 1", torch.zeros(2, 1), torch.zeros(2, dtype=torch.long), 1
    yield "152k, K = 64", *random_logits(6, 152_064), 64
    yield "152k, peaked", *random_logits(6, 152_064, scale=60.0), 64
    yield (
        "152k, bfloat16, far from zero",
        *((lambda x, y: (x + 40, y))(*random_logits(6, 152_064, dtype=torch.bfloat16))),
        64,
    )
    yield "152k, masked", *masked(*random_logits(4, 152_064), keep=40), 64
    yield "float64", *random_logits(20, 4111, dtype=torch.float64), 5


CASES = list(cases())
