"""Packed rows: the statistics and gradients of each response as if it had been padded, whatever lies around it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simko.probes.errors import TooManyCandidates
from simko.probes.statistics.logit_transform import LogitTransform
from simko.probes.statistics.ranked_statistics import ranked_statistics
from simko.trainers.verl import packed
from simko.trainers.verl.packed import ResponseRows, cut, response_statistics

V, K = 11, 3


@st.composite
def sequences(draw):
    """Prompt and response lengths of a few sequences; some have no response."""
    return draw(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=5))


def forward(lengths, extra=0, seed=0):
    """Random logits of packed sequences and the tokens of their responses."""
    total = sum(p + r for p, r in lengths) + extra
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(total, V, generator=generator, dtype=torch.float64)
    tokens = torch.randint(0, V, (sum(r for _, r in lengths),), generator=generator)
    offsets = [0]
    for prompt, response in lengths:
        offsets.append(offsets[-1] + prompt + response)
    return logits, tokens, ResponseRows.packed(offsets, [r for _, r in lengths])


@settings(deadline=None, max_examples=60)
@given(sequences(), st.integers(0, 3), st.integers(1, 3), st.sampled_from([1.0, 0.6]))
def test_packed_rows_are_padded_rows(lengths, extra, most, temperature):
    """Values and gradients, in pieces of any size, with padding behind the last sequence."""
    logits, tokens, rows = forward(lengths, extra)
    logits.requires_grad_()
    bytes_of = packed.CHUNK_BYTES["cpu"]
    packed.CHUNK_BYTES["cpu"] = 4 * V * most
    try:
        stats = response_statistics(logits, tokens, rows, K, temperature)
    finally:
        packed.CHUNK_BYTES["cpu"] = bytes_of
    weight = torch.linspace(-1, 1, max(stats.logprob.numel(), 1))[: stats.logprob.numel()].view_as(stats.logprob)
    (stats.logprob * weight + stats.entropy * weight**2 + stats.top_logprob.sum(-1)).sum().backward()
    got, logits.grad = logits.grad, None

    at = used = 0
    total = logits.sum() * 0
    for i, (prompt, response) in enumerate(lengths):
        part = logits[at + prompt - 1 : at + prompt + response - 1]
        own = ranked_statistics(part, tokens[used : used + response], K, LogitTransform(temperature=temperature))
        for name in own._fields:
            assert torch.equal(getattr(stats, name)[i, :response], getattr(own, name)), name
            assert not getattr(stats, name)[i, response:].any(), name
        assert stats.token_id[i, :response].equal(tokens[used : used + response])
        assert stats.mask[i].sum() == response
        w = weight[i, :response]
        total = total + (own.logprob * w + own.entropy * w**2 + own.top_logprob.sum(-1)).sum()
        at, used = at + prompt + response, used + response
    total.backward()
    assert torch.allclose(got, logits.grad, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(sequences())
def test_padded_rows_are_found_where_packed_ones_are(lengths):
    logits, tokens, rows = forward(lengths)
    longest = max(p + r for p, r in lengths)
    wide, at = torch.full((len(lengths), longest, V), torch.nan, dtype=torch.float64), 0
    for i, (prompt, response) in enumerate(lengths):
        wide[i, : prompt + response] = logits[at : at + prompt + response]
        at += prompt + response
    padded = ResponseRows.padded([p + r for p, r in lengths], [r for _, r in lengths], longest)
    one = response_statistics(logits, tokens, rows, K, 1.0)
    other = response_statistics(wide.flatten(0, 1), tokens, padded, K, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@settings(deadline=None, max_examples=40)
@given(sequences())
def test_values_come_back_to_their_rows_with_their_gradient(lengths):
    _, _, rows = forward(lengths)
    total = sum(p + r for p, r in lengths)
    flat = torch.arange(1.0, total + 1, requires_grad=True)
    values = rows.gather(flat)
    assert (values != 0).sum() == sum(r for _, r in lengths)
    assert torch.equal(rows.place(values, flat), flat)
    doubled = rows.place(2 * values, flat.half())
    assert doubled.dtype == values.dtype
    doubled.sum().backward()
    expected = torch.zeros(total)
    expected[rows.row_index("cpu")] = 2
    assert torch.equal(flat.grad, expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 7)), max_size=5), st.integers(0, 3), st.integers(1, 4))
def test_pieces_cover_every_row_once(parts, behind, most):
    spans, at = [], 0
    for gap, count in parts:
        spans.append((at + gap, count))
        at += gap + count
    sizes, wanted = cut(at + behind, spans, most)
    assert sum(sizes) == at + behind
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    covered = [row for piece in wanted for row in range(ends[piece], ends[piece + 1])]
    assert covered == [row for start, count in spans for row in range(start, start + count)]
    assert all(sizes[piece] <= most for piece in wanted)


def test_a_width_beyond_the_longest_response_is_padding():
    logits, tokens, rows = forward([(2, 3), (1, 1)])
    wide = response_statistics(logits, tokens, rows._replace(width=6), K, 1.0)
    assert wide.mask.shape == (2, 6) and wide.mask.sum() == 4


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="no prompt"):
        ResponseRows.packed([0, 3], [3])
    logits, tokens, rows = forward([(1, 2)])
    with pytest.raises(TooManyCandidates):
        response_statistics(logits, tokens, rows, V + 1, 1.0)
