"""The probe in a plain loop and driven by an engine: what is logged, when, and that it never hurts training."""

import inspect
import json
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from simko.probes import NullProbe, Probe, ProbeCannotSee, TooManyCandidates, add_ranked_head, forking_mask
from simko.probes.recording.rows import left_align
from simko.store.errors import RunExists
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-2)


def train(model, batch, steps=1, micro_batches=1, optimizer=None):
    optimizer = optimizer or adamw(model)
    for _ in range(steps):
        for _ in range(micro_batches):
            model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def read(run_dir, table):
    parts = sorted((run_dir / table).glob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def manifest(run_dir, attempt=1):
    return [json.loads(line) for line in (run_dir / f"manifest/{attempt:03d}-000.jsonl").read_text().splitlines()]


# What is logged


def test_plain_loop_to_parquet_and_back(llama, batch, oracle, tmp_path):
    model = llama()
    mask = batch["labels"][:, 1:] != -100
    with torch.no_grad():
        logits = model(**batch).logits[:, :-1] / 0.8
    info = {"method": "sft", "task": "toy"}
    with Probe.attach(model, tmp_path / "run", k=4, temperature=0.8, tau=0.5, info=info) as probe:
        assert probe.active
        train(model, batch, steps=2)
    tokens = [row for row in read(tmp_path / "run", "tokens") if row["step"] == 1]
    expected = oracle(logits[mask], batch["input_ids"][:, 1:][mask], 4)
    assert [row["token_id"] for row in tokens] == batch["input_ids"][:, 1:][mask].tolist()
    for name in ("logprob", "entropy", "collision"):
        np.testing.assert_allclose([row[name] for row in tokens], expected[name], atol=1e-5)
    assert [row["rank"] for row in tokens] == expected["rank"].tolist()
    for k in range(4):
        np.testing.assert_allclose([row[f"logp_{k + 1}"] for row in tokens], expected["top_logprob"][:, k], atol=1e-5)
        assert [row[f"id_{k + 1}"] for row in tokens] == expected["top_id"][:, k].tolist()
    entropy = torch.zeros(mask.shape, dtype=torch.float64).masked_scatter(mask, expected["entropy"])
    assert [row["forking"] for row in tokens] == forking_mask(entropy, mask, 0.5)[mask].tolist()
    lengths = mask.sum(1).tolist()
    assert [row["position"] for row in tokens] == [t for n in lengths for t in range(n)]
    assert [row["response_id"] for row in tokens] == [r for r, n in enumerate(lengths) for _ in range(n)]

    responses = read(tmp_path / "run", "responses")
    assert [row["response_id"] for row in responses] == list(range(6))
    assert [row["n_tokens"] for row in responses] == lengths * 2
    assert {row["verdict"] for row in responses} == {"unjudged"}
    assert [row["prompt_id"] for row in responses[:3]] == [row["prompt_id"] for row in responses[3:]]
    assert len({row["prompt_id"] for row in responses}) == 3
    rollups = read(tmp_path / "run", "rollups")
    counts = [(row["step"], row["n_tokens"], row["n_responses"]) for row in rollups]
    assert counts == [(1, sum(lengths), 3), (2, sum(lengths), 3)]
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["method"] == "sft" and run["probe"]["temperature"] == 0.8 and "τ = 0.5" in run["probe"]["forking"]
    assert manifest(tmp_path / "run")[-1]["status"] == "finished"


def test_without_labels_every_attended_token_counts(llama, batch, memory, tmp_path):
    model = llama()
    Probe.attach(model, tmp_path, recorder=memory)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    model(**inputs)
    model(batch["input_ids"])
    assert memory.batches[0].mask.tolist() == batch["attention_mask"][:, 1:].bool().tolist()
    assert memory.batches[1].mask.all() and memory.batches[1].mask.shape == (3, 10)


def test_fewer_logits_than_inputs(llama, batch, memory, tmp_path):
    model = llama()
    Probe.attach(model, tmp_path, recorder=memory)
    model(input_ids=batch["input_ids"])
    model(input_ids=batch["input_ids"], logits_to_keep=5)
    whole, part = memory.batches
    np.testing.assert_array_equal(part.token_id, whole.token_id[:, -4:])
    np.testing.assert_allclose(part.logprob, whole.logprob[:, -4:], atol=1e-6)


def test_ready_logits_and_ranked_head_give_the_same_rows(llama, batch, memory, tmp_path):
    model = llama()
    add_ranked_head(model, k=7, temperature=0.8)
    Probe.attach(model, tmp_path, k=4, recorder=memory)
    model(**batch)
    model(**batch, ranked=True)
    plain, ranked = memory.batches
    assert ranked.top_id.shape[2] == 4
    for name in ("mask", "token_id", "rank", "top_id", "forking"):
        np.testing.assert_array_equal(getattr(ranked, name), getattr(plain, name))
    for name in ("logprob", "entropy", "collision", "top_logprob"):
        np.testing.assert_allclose(getattr(ranked, name), getattr(plain, name), atol=1e-5)


def test_a_module_that_returns_bare_logits(memory, tmp_path):
    class Bigram(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(11, 11)

        def forward(self, tokens):
            return self.table(tokens)

    model = Bigram()
    Probe.attach(model, tmp_path, k=3, recorder=memory)
    with pytest.warns(RuntimeWarning, match="input_ids"):
        model(torch.randint(11, (2, 5)))

    class Named(Bigram):
        def forward(self, input_ids):
            return self.table(input_ids)

    named = Named()
    Probe.attach(named, tmp_path, k=3, recorder=memory)
    named(torch.randint(11, (2, 5)))
    assert memory.batches[0].top_id.shape == (2, 4, 3)


def test_texts(llama, batch, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(61)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    model = llama()
    with Probe.attach(model, tmp_path / "run", tokenizer=PreTrainedTokenizerFast(tokenizer_object=words)):
        train(model, batch)
    row = read(tmp_path / "run", "responses")[0]
    ids = batch["input_ids"][0].tolist()
    assert row["prompt"] == " ".join(f"w{i}" for i in ids[:4])
    assert row["completion"] == " ".join(f"w{i}" for i in ids[4:])
    assert pq.read_table(tmp_path / "run/vocabulary.parquet")["text"].to_pylist() == [f"w{i}" for i in range(61)]


# When it is logged


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("ranked", [False, True])
def test_once_per_scored_micro_batch(llama, batch, memory, tmp_path, ranked, checkpointing):
    model = llama()
    if checkpointing:
        model.gradient_checkpointing_enable()
    if ranked:
        add_ranked_head(model, k=4, chunk_bytes=4 * 61 * 3)
    Probe.attach(model, tmp_path, k=4, recorder=memory)
    train(model, batch | ({"ranked": True} if ranked else {}), steps=2, micro_batches=3)
    assert memory.events == [("batch", 1)] * 3 + [("end", 1)] + [("batch", 2)] * 3 + [("end", 2)]


def test_once_when_the_whole_model_is_checkpointed(llama, batch, memory, tmp_path):
    model = llama()
    Probe.attach(model, tmp_path, recorder=memory)
    embedded = torch.zeros(1, requires_grad=True)
    with set_checkpoint_early_stop(False):  # else the recomputation may stop before the hook
        checkpoint(lambda x: model(**batch).loss + x, embedded, use_reentrant=False).backward()
    assert len(memory.batches) == 1


def test_passes_without_gradient_or_in_evaluation_are_not_logged(llama, batch, memory, tmp_path):
    model = llama()
    Probe.attach(model, tmp_path, recorder=memory)
    with torch.no_grad():
        model(**batch)
    model.eval()(**batch)
    model.generate(batch["input_ids"], max_new_tokens=2, do_sample=False)
    assert memory.events == []


def test_an_engine_logs_only_inside_its_batches(llama, batch, memory, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[:, :4] = True
    mask[2, 0] = False
    ids, verdicts = torch.tensor([7, 3, 9]), torch.tensor([0, 2, 1])
    with probe.batch(step=5, response_ids=ids, verdicts=verdicts, mask=mask):
        model(**batch)
    model(**batch)
    assert len(memory.batches) == 1
    logged = memory.batches[0]
    assert logged.step == 5
    assert logged.response_id.tolist() == [7, 3, 9] and logged.verdict.tolist() == [0, 2, 1]
    scored = batch["labels"][:, -6:] != -100
    assert logged.mask.tolist() == (mask & scored).tolist()
    assert logged.token_id[logged.mask].tolist() == batch["input_ids"][:, -6:][mask & scored].tolist()
    assert memory.response_columns == []


def test_the_probe_names_responses_with_what_it_is_told(llama, batch, memory, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    with probe.batch(verdicts=["right", "wrong", "unjudged"], rewards=[1.0, 0.0, None], prompts=["a", "b", "c"]):
        for row in range(3):  # a forward takes the rows in turn
            model(**{name: values[row : row + 1] for name, values in batch.items()}).loss.backward()
    probe.end_step()
    assert [b.verdict.tolist() for b in memory.batches] == [[0], [1], [2]]
    assert [c["reward"] for c in memory.response_columns] == [[1.0], [0.0], [None]]
    assert [c["prompt"] for c in memory.response_columns] == [["a"], ["b"], ["c"]]
    assert [c["response_id"] for c in memory.response_columns] == [[0], [1], [2]]
    with pytest.raises(TypeError, match="known are"), probe.batch(reward=[1.0]):
        pass


# Which step


def test_steps_without_a_scored_batch_are_counted(llama, batch, memory, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory, start_step=10)
    optimizer = adamw(model)
    for step in range(11, 15):
        if step % 2:
            with probe.batch():
                model(**batch).loss.backward()
        optimizer.step()
    assert memory.events == [("batch", 11), ("end", 11), ("batch", 13), ("end", 13)]


def test_foreign_optimizers_do_not_count(llama, batch, memory, tmp_path):
    model, other = llama(), torch.nn.Linear(2, 2)
    Probe.attach(model, tmp_path, recorder=memory)
    foreign = torch.optim.SGD(other.parameters(), lr=0.1)
    optimizer = adamw(model)
    foreign.step()
    model(**batch).loss.backward()
    foreign.step()
    optimizer.step()
    model(**batch)
    assert memory.events == [("batch", 1), ("end", 1), ("batch", 2)]


def test_two_optimizers_over_one_model_count_once(llama, batch, memory, tmp_path):
    model = llama()
    Probe.attach(model, tmp_path, recorder=memory)
    parameters = list(model.parameters())
    pair = [torch.optim.SGD(part, lr=0.01) for part in (parameters[:3], parameters[3:])]
    for _ in range(2):
        model(**batch).loss.backward()
        for optimizer in pair:
            optimizer.step()
    assert [event for event in memory.events if event[0] == "end"] == [("end", 1), ("end", 2)]


def test_end_step_by_hand(llama, batch, memory, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    optimizer = adamw(model)
    for _ in range(2):  # by hand beside an optimizer that is counted: changes nothing
        model(**batch).loss.backward()
        optimizer.step()
        probe.end_step()
    for _ in range(2):  # by hand alone
        model(**batch)
        probe.end_step()
    model(**batch)
    probe.end_step(20)  # a number takes precedence
    model(**batch)
    assert [e for e in memory.events if e[0] == "end"] == [("end", n) for n in (1, 2, 3, 4, 20)]
    assert memory.batches[-1].step == 21


def test_a_batch_of_a_later_step_closes_the_one_before(llama, batch, memory, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    for step in (4, 4, 5):
        with probe.batch(step=step):
            model(**batch)
    probe.close()
    events = [e for e in memory.events if e[0] != "batch"]
    assert events == [("end", 4), ("end", 5), ("close", "finished")]


def test_says_when_nothing_could_be_seen(llama, memory, tmp_path):
    model = llama().eval()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    optimizer = adamw(model)
    with pytest.warns(RuntimeWarning, match=r"model\.train\(\)"):
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    assert probe.active


# Never hurting training


def test_an_error_switches_the_probe_off_and_training_goes_on(llama, batch, memory, tmp_path):
    model, plain = llama(), llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)

    def broken(_batch):
        raise OSError("gone")

    memory.put = broken
    with pytest.warns(RuntimeWarning, match="training goes on: OSError: gone") as caught:
        train(model, batch, steps=3)
    assert len([w for w in caught if "switched off" in str(w.message)]) == 1
    assert not probe.active and probe.errors == 1
    train(plain, batch, steps=3)
    for result, expected in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(result, expected)
    probe.close()
    assert memory.events[-1] == ("close", "finished")


def test_wrong_row_counts_are_an_error_of_the_probe(llama, batch, memory, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    with pytest.warns(RuntimeWarning, match="verdict has no entry"), probe.batch(verdicts=["right"]):
        assert model(**batch).loss.isfinite()
    assert not probe.active


def test_a_probe_changes_no_gradient(llama, batch, memory, tmp_path):
    model, plain = llama(), llama()
    Probe.attach(model, tmp_path, recorder=memory)
    train(model, batch, steps=3, micro_batches=2)
    train(plain, batch, steps=3, micro_batches=2)
    for result, expected in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(result, expected)
    assert len(memory.batches) == 6


def test_logged_arrays_do_not_share_memory_with_the_trainer(llama, batch, memory, tmp_path):
    model = llama()
    add_ranked_head(model, k=5)
    Probe.attach(model, tmp_path, recorder=memory)
    waiting = []
    memory.put = waiting.append  # as if the recorder's thread came to it later
    output = model(**batch, ranked=True)
    expected = output.log_probs[output.label_mask].tolist()
    with torch.no_grad():
        output.log_probs.zero_()
    logged = waiting[0]()
    assert logged.logprob[logged.mask].tolist() == expected


def test_close_lets_go_of_the_model(llama, batch, memory, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    probe.close()
    probe.close()
    train(model, batch)
    assert memory.events == [("close", "finished")]
    assert not model._forward_hooks


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (RuntimeError, "failed")])
def test_leaving_by_an_error_finishes_the_queue(llama, batch, tmp_path, error, status):
    model = llama()

    def stop():
        with Probe.attach(model, tmp_path / "run"):
            model(**batch)
            raise error

    with pytest.raises(error):
        stop()
    assert len(read(tmp_path / "run", "responses")) == 3
    assert len(read(tmp_path / "run", "rollups")) == 1
    assert manifest(tmp_path / "run")[-1]["status"] == status


# Set-up


def test_an_existing_run_is_refused_or_resumed(llama, batch, tmp_path):
    model = llama()
    with Probe.attach(model, tmp_path / "run"):
        train(model, batch)
    with pytest.raises(RunExists):
        Probe.attach(model, tmp_path / "run")
    assert not model._forward_hooks
    with Probe.attach(model, tmp_path / "run", resume=True, start_step=1):
        train(model, batch)
    assert [(row["attempt"], row["step"]) for row in read(tmp_path / "run", "rollups")] == [(1, 1), (2, 2)]


def test_a_refused_attach_gives_the_trainers_head_back(llama, tmp_path):
    from trl.trainer.utils import add_fused_lm_head

    model = llama()
    add_fused_lm_head(model)
    forward = model.forward
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="file"):
        Probe.attach(model, tmp_path / "file" / "run")
    assert model.forward == forward


def test_refuses_k_beyond_the_vocabulary(llama, tmp_path):
    with pytest.raises(TooManyCandidates, match="between 1 and 61"):
        Probe.attach(llama(), tmp_path / "run", k=62)
    assert not (tmp_path / "run").exists()


def test_refuses_a_model_whose_logits_stay_hidden(llama, tmp_path):
    class Fused(type(llama())):
        def forward(self, *args, labels=None, **kwargs):
            output = super().forward(*args, labels=labels, **kwargs)
            if self.training and labels is not None:  # as fused cross-entropies do
                output.logits = None
            return output

    model = llama()
    model.__class__ = Fused
    with pytest.raises(ProbeCannotSee, match="use_liger_kernel"):
        Probe.attach(model, tmp_path / "run")
    with pytest.raises(ProbeCannotSee, match="returns no logits"):
        Probe.attach(llama().model, tmp_path / "run")


def test_logits_that_vanish_later_switch_the_probe_off(llama, batch, memory, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    with pytest.warns(RuntimeWarning, match="without logits"):
        model(**batch, return_dict=False)
    assert not probe.active


def test_under_ddp(llama, batch, memory, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = llama()
        add_ranked_head(model, k=5, chunk_bytes=4 * 61 * 3)
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        Probe.attach(wrapped, tmp_path, recorder=memory)
        train(wrapped, batch | {"ranked": True}, steps=2)
        assert memory.events == [("batch", 1), ("end", 1), ("batch", 2), ("end", 2)]
        plain = llama()
        train(plain, batch, steps=2)
        for result, expected in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    finally:
        torch.distributed.destroy_process_group()


def test_null_probe_has_the_same_surface():
    def surface(cls):
        return {name for name in dir(cls) if not name.startswith("_")} - {"attach"}

    assert surface(Probe) <= surface(NullProbe)
    for name in ("responses", "evals", "end_step", "close"):
        assert inspect.signature(getattr(Probe, name)) == inspect.signature(getattr(NullProbe, name))
    with NullProbe() as probe, probe.batch(step=1, response_ids=[1], verdicts=["right"], mask=None):
        assert not probe.active


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=5))
def test_left_align_keeps_each_rows_order_and_gaps(rows):
    mask = np.array(rows)
    token_id = np.arange(mask.size).reshape(mask.shape)
    result = left_align({"mask": mask, "token_id": token_id})
    for before, ids, after, moved in zip(mask, token_id, result["mask"], result["token_id"], strict=True):
        assert moved[after].tolist() == ids[before].tolist()
        if before.any():
            assert after[0]
            assert np.diff(moved[after]).tolist() == np.diff(np.flatnonzero(after)).tolist()


@pytest.mark.parametrize("given", ["own mask", "mask", "wrong shape"])
def test_what_the_sampler_reported_goes_to_its_tokens_or_is_refused(given, llama, batch, tmp_path):
    model = llama()
    mask = batch["labels"][:, 1:] != -100
    reported = torch.arange(mask.numel()).view(mask.shape) / -7.0
    with Probe.attach(model, tmp_path / "run", k=4) as probe, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with probe.batch(step=1, mask=mask if given == "mask" else None) as scope:
            scope.sampler_logprob = reported[:, 1:] if given == "wrong shape" else reported
            model(**batch)
        assert (probe.errors, "shape" in str([w.message for w in caught])) == (
            (1, True) if "shape" in given else (0, False)
        )
    logged = [row["sampler_logprob"] for row in read(tmp_path / "run", "tokens")]
    assert logged == ([] if "shape" in given else pytest.approx(reported[mask].tolist()))
