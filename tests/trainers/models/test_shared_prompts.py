"""Common beginnings run once: the same hidden states, gradients and samples as whole rows."""

from __future__ import annotations

import copy

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.store.errors import SimkoError
from simko.trainers.models.shared_prompts import common_beginnings, share_prompts


def pair(**options):
    """(a model, the same one that shares, the shapes its backbone has seen)."""
    plain = tiny.llama(**options).double()
    shared = copy.deepcopy(plain)
    seen = []
    shared.base_model.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[:2])))
    share_prompts(shared)
    share_prompts(shared)
    return plain, shared, seen


def batch():
    """Two prompts three times, in no order, the shorter padded on the left; other last tokens."""
    prompts = {0: [0, 0, 5, 6, 7, 8], 1: [3, 4, 5, 6, 7, 9]}
    order = [1, 0, 0, 1, 0, 1]
    ids = torch.tensor([prompts[i] + [10 + n, 11] for n, i in enumerate(order)])
    mask = torch.ones_like(ids)
    mask[torch.tensor(order) == 0, :2] = 0
    return ids, mask


def test_hidden_states_and_gradients_are_those_of_whole_rows():
    plain, shared, seen = pair()
    ids, mask = batch()
    weight = torch.randn(ids.shape, dtype=torch.double) * mask
    for model in (plain, shared):
        logits = model.train()(input_ids=ids, attention_mask=mask, use_cache=False).logits
        (logits.log_softmax(-1)[..., 12] * weight).sum().backward()
    assert seen == [(2, 6), (6, 2)]
    for (name, p), q in zip(plain.named_parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-5, msg=name)  # norms are float32
    kept = mask.bool()
    whole = plain(input_ids=ids, attention_mask=mask, use_cache=False)
    again = shared(input_ids=ids, attention_mask=mask, use_cache=False)
    torch.testing.assert_close(whole.logits[kept], again.logits[kept], rtol=1e-5, atol=1e-5)
    assert again.past_key_values is None


def test_the_same_tokens_are_sampled():
    plain, shared, seen = pair()
    ids, mask = (part[:, :6] for part in batch())
    drawn = []
    for model in (plain, shared):
        torch.manual_seed(1)
        drawn.append(model.eval().generate(ids, attention_mask=mask, do_sample=True, max_new_tokens=5, eos_token_id=0))
    assert torch.equal(*drawn)
    assert seen[:2] == [(2, 5), (6, 1)]


def test_beginnings_that_begin_alike_are_shared_in_turn():
    plain, shared, seen = pair()
    rows = [[1, 2, 3, 4, 5, 6, group, group, own] for group in (7, 8) for own in (9, 10, 11)]
    ids = torch.tensor(rows)
    outputs = [model.eval()(input_ids=ids, use_cache=False).logits for model in (plain, shared)]
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    assert seen == [(1, 6), (2, 2), (6, 1)]


def test_rows_that_differ_go_through_whole():
    _, shared, seen = pair()
    shared(input_ids=torch.arange(1, 13).view(3, 4))
    assert seen == [(3, 4)]
    shared(inputs_embeds=torch.zeros(2, 3, shared.config.hidden_size, dtype=torch.double))
    assert seen[1:] == [(2, 3)]


def test_checkpointed_activations_are_left_alone():
    _, shared, seen = pair()
    shared.activation_checkpointing_enable()
    ids, mask = batch()
    shared.train()(input_ids=ids, attention_mask=mask, use_cache=False)
    assert seen[0] == (6, 8)


@pytest.mark.parametrize(("options", "words"), [({"checkpointing": True}, "checkpointing"), ({"processes": 2}, "one")])
def test_trainings_it_does_not_serve_are_refused(options, words):
    with pytest.raises(SimkoError, match=words):
        share_prompts(tiny.llama(), **options)


def test_a_model_with_other_states_is_refused():
    model = tiny.llama()
    model.config.layer_types = ["sliding_attention"] * model.config.num_hidden_layers
    model.config.sliding_window = 4
    with pytest.raises(SimkoError, match="leave the option out"):
        share_prompts(model)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=2, max_size=7))
def test_the_cut_saves_the_most(rows):
    ids = torch.tensor(rows)
    length, first, owner = common_beginnings(ids, None)
    assert torch.equal(ids[first][owner][:, :length], ids[:, :length]) and length < ids.size(1)
    saved = [n * (len(rows) - len({tuple(row[:n]) for row in rows})) for n in range(ids.size(1))]
    assert length * (len(rows) - len(first)) == max(saved)
