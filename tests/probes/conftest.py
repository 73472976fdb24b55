"""Tiny real models and a recorder that keeps what it is handed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY = 61


def llama(**changes):
    torch.manual_seed(0)
    options = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.6,
    }
    return LlamaForCausalLM(LlamaConfig(**(options | changes))).train()


class MemoryRecorder:
    """The recorder's surface, kept in memory: what reached it, in order."""

    error = None

    def __init__(self):
        self.batches, self.response_columns, self.events = [], [], []

    def put(self, batch):
        self.batches.append(batch() if callable(batch) else batch)
        if self.batches[-1].responses is not None:
            self.put_responses(self.batches[-1].responses)
        self.events.append(("batch", self.batches[-1].step))

    def put_responses(self, columns):
        self.response_columns.append(columns)

    def put_evals(self, columns):
        self.events.append(("evals", columns))

    def end_step(self, step, capture_ms=None, device_ms=None):
        self.events.append(("end", step))

    def flush(self):
        pass

    def close(self, status="finished"):
        self.events.append(("close", status))


@pytest.fixture(name="llama")
def _llama():
    return llama


@pytest.fixture
def memory():
    return MemoryRecorder()


@pytest.fixture(scope="session")
def oracle():
    """Statistics of (N, V) logits and (N,) labels in float64, by their definitions."""

    def statistics(logits, labels, k):
        x = logits.detach().double()
        log_p = x.log_softmax(-1)
        p = log_p.exp()
        order = np.lexsort((np.broadcast_to(np.arange(x.size(1)), x.shape), -x.numpy()), axis=-1)
        top_id = torch.from_numpy(order[:, :k].copy())
        chosen = x.gather(1, labels[:, None])
        return {
            "logprob": log_p.gather(1, labels[:, None])[:, 0],
            "entropy": torch.special.entr(p).sum(-1),
            "logsumexp": x.logsumexp(-1),
            "rank": (x > chosen).sum(1) + 1,
            "collision": p.square().sum(-1),
            "collision_logprob": -(p * torch.special.entr(p)).sum(-1),
            "entropy_slope": (p * torch.special.entr(p).sum(-1, keepdim=True) - torch.special.entr(p)).square().sum(-1),
            "top_logprob": log_p.gather(1, top_id),
            "top_id": top_id,
        }

    return statistics


@pytest.fixture
def batch():
    """A batch of (3, 11) token ids with prompts of different lengths; labels -100 on prompts and padding."""
    torch.manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (3, 11))
    attention = torch.ones_like(ids)
    attention[1, 8:] = 0
    labels = ids.masked_fill(attention == 0, -100)
    labels[0, :4] = -100
    labels[1, :2] = -100
    labels[2, :6] = -100
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


@pytest.fixture
def twin():
    """A deep copy, for two ways of computing the same thing."""
    return copy.deepcopy
