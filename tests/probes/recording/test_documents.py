"""Packed and padding-free rows: each document is a response of its own, scored as if it stood alone."""

import numpy as np
import pytest
import torch
from simko.probes import LogitGradient, Probe, add_ranked_head
from transformers import DataCollatorWithFlattening

LENGTHS = (6, 2, 4)


@pytest.fixture
def documents():
    torch.manual_seed(5)
    return [torch.randint(3, 61, (n,)) for n in LENGTHS]


def packed(documents, **options):
    features = [{"input_ids": ids.tolist(), "labels": ids.tolist()} for ids in documents]
    return dict(DataCollatorWithFlattening(return_tensors="pt", **options)(features))


def one_a_row(documents):
    """Documents alone, in one padded batch."""
    ids = torch.zeros(len(documents), max(LENGTHS), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, document in enumerate(documents):
        ids[row, : len(document)] = document
        mask[row, : len(document)] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def same_rows(one, other):
    """Two batches hold the same rows at the same positions."""
    width = max(one.mask.shape[1], other.mask.shape[1])

    def wide(values):
        return np.pad(values, [(0, 0), (0, width - values.shape[1])] + [(0, 0)] * (values.ndim - 2))

    mask = wide(one.mask)
    np.testing.assert_array_equal(mask, wide(other.mask))
    for name in ("token_id", "rank", "forking", "top_id"):
        np.testing.assert_array_equal(wide(getattr(one, name))[mask], wide(getattr(other, name))[mask])
    for name in ("logprob", "entropy", "collision", "top_logprob"):
        np.testing.assert_allclose(wide(getattr(one, name))[mask], wide(getattr(other, name))[mask], atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "ranked"),  # a ranked forward needs labels
    [("separated", False), ("every token", False), ("none", False), ("separated", True), ("every token", True)],
)
def test_each_document_is_a_response(llama, documents, memory, tmp_path, labels, ranked):
    model = llama()
    add_ranked_head(model, k=5)
    Probe.attach(model, tmp_path, tau=0.5, recorder=memory)
    inputs = packed(documents, separator_id=-100)
    if labels == "every token":
        inputs["labels"] = inputs["input_ids"].clone()
    if labels == "none":
        del inputs["labels"]
    model(**inputs, **({"ranked": True} if ranked else {"use_cache": False}))  # a cache would join the documents
    model(**one_a_row(documents))
    flat, alone = memory.batches
    assert flat.mask.sum(1).tolist() == [n - 1 for n in LENGTHS]
    same_rows(flat, alone)
    assert [c["response_id"] for c in memory.response_columns] == [[0, 1, 2], [3, 4, 5]]
    assert memory.response_columns[0]["n_tokens"] == [n - 1 for n in LENGTHS]
    assert memory.response_columns[0]["prompt_id"] == memory.response_columns[1]["prompt_id"]


def said_by(kind, inputs):
    """The same row, whose documents are said in another way."""
    ids, positions = inputs["input_ids"], inputs["position_ids"]
    ends = [0, *np.cumsum(LENGTHS).tolist()]
    lengths = torch.tensor(ends, dtype=torch.int32)
    index = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS)).unsqueeze(0)
    return {"input_ids": ids} | {
        "position_ids": {"position_ids": positions},
        "cumulative lengths": {"cu_seq_lens_q": lengths, "cu_seq_lens_k": lengths},
        "seq_idx": {"seq_idx": index.int()},
        "cu_seqlens": {"cu_seqlens": lengths},
    }[kind]


@pytest.mark.parametrize("kind", ["position_ids", "cumulative lengths", "seq_idx", "cu_seqlens"])
def test_every_way_of_saying_where_documents_begin(documents, memory, tmp_path, kind):
    class Bigram(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table = torch.nn.Embedding(61, 61)

        def forward(self, input_ids, **kwargs):
            return self.table(input_ids)

    model = Bigram()
    Probe.attach(model, tmp_path, recorder=memory)
    model(**said_by(kind, packed(documents)))
    model(input_ids=one_a_row(documents)["input_ids"], attention_mask=one_a_row(documents)["attention_mask"])
    same_rows(*memory.batches)


def test_rows_of_several_documents_each_with_padding(llama, documents, memory, tmp_path):
    """Two rows: documents 0 and 1 with padding on the right, and document 2 with padding on the left."""
    model = llama()
    probe = Probe.attach(model, tmp_path, tau=0.5, recorder=memory)
    ids = torch.zeros(2, 9, dtype=torch.long)
    mask, positions = torch.zeros_like(ids), torch.ones_like(ids)
    ids[0, :8] = torch.cat(documents[:2])
    ids[1, 5:] = documents[2]
    mask[0, :8], mask[1, 5:] = 1, 1
    positions[0, :8] = torch.cat([torch.arange(6), torch.arange(2)])
    positions[1, 5:] = torch.arange(4)
    with probe.batch(verdicts=["right", "wrong", "unjudged"]):
        model(input_ids=ids, attention_mask=mask, position_ids=positions)
    (logged,) = memory.batches
    assert [logged.token_id[i][logged.mask[i]].tolist() for i in range(3)] == [d[1:].tolist() for d in documents]
    assert logged.verdict.tolist() == [0, 1, 2]


@pytest.mark.parametrize("multiple", [None, 16])
def test_padding_free_rows_of_trl(llama, documents, memory, tmp_path, multiple):
    """Each token of its padding has the position 0, as if it were a document."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True, pad_to_multiple_of=multiple)
    inputs = collate([{"input_ids": ids.tolist()} for ids in documents])
    assert inputs["input_ids"].shape == (1, multiple or sum(LENGTHS))
    model = llama()
    Probe.attach(model, tmp_path, tau=0.5, recorder=memory)
    model(**inputs, use_cache=False)
    model(**one_a_row(documents))
    same_rows(*memory.batches)
    assert memory.response_columns[0]["response_id"] == [0, 1, 2]


def test_fewer_logits_than_packed_inputs(llama, documents, memory, tmp_path):
    """Those of the last five positions reach into the third document alone, whose first token nothing predicts."""
    model = llama()
    Probe.attach(model, tmp_path, recorder=memory)
    inputs = packed(documents)
    model(input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], use_cache=False, logits_to_keep=5)
    (logged,) = memory.batches
    assert [logged.token_id[i][logged.mask[i]].tolist() for i in range(3)] == [[], [], documents[2][1:].tolist()]


def test_one_document_a_row_stays_as_it_is(llama, batch, memory, tmp_path):
    model = llama()
    Probe.attach(model, tmp_path, recorder=memory)
    model(**batch)
    model(**batch, position_ids=torch.arange(11).unsqueeze(0))
    plain, positioned = memory.batches
    same_rows(plain, positioned)
    assert positioned.mask.shape == plain.mask.shape


@pytest.mark.parametrize("given", ["mask", "credit"])
def test_a_mask_or_credit_of_packed_rows_is_refused(llama, documents, memory, tmp_path, given):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)

    def step():
        with probe.batch(mask=torch.ones(1, 11, dtype=torch.bool) if given == "mask" else None) as scope:
            model(**packed(documents, separator_id=-100))
            if given == "credit":
                scope.credit(LogitGradient(weight=torch.ones(3, 5), ratio=torch.ones(3, 5)))

    with pytest.warns(RuntimeWarning, match="several documents"):
        step()
    assert not probe.active and not memory.batches


def test_the_first_token_after_padding_is_not_scored(llama, memory, tmp_path):
    model = llama()
    Probe.attach(model, tmp_path, recorder=memory)
    ids = torch.tensor([[0, 0, 3, 4, 5], [6, 7, 8, 9, 10]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    model(input_ids=ids, attention_mask=mask)
    logged = memory.batches[0]
    assert [logged.token_id[i][logged.mask[i]].tolist() for i in range(2)] == [[4, 5], [7, 8, 9, 10]]
