"""Models whose logits are not simply those of the next token of `input_ids`: shifted right, or refused by name."""

import numpy as np
import pytest
import torch
from simko.probes import Probe, ProbeCannotSee, add_ranked_head
from transformers import BertConfig, BertForMaskedLM, BertLMHeadModel, T5Config, T5ForConditionalGeneration

peft = pytest.importorskip("peft")

PROMPT_LEARNING = {
    "prompt tuning": lambda n: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=n),
    "P-tuning": lambda n: peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=n, encoder_hidden_size=8),
    "prefix tuning": lambda n: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=n),
}
TINY_BERT = {
    "vocab_size": 61,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.3,
}


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("kind", PROMPT_LEARNING)
@pytest.mark.parametrize("ranked", [False, True])
def test_learned_positions_are_left_out(llama, batch, oracle, memory, tmp_path, kind, length, ranked):
    model = peft.get_peft_model(llama(), PROMPT_LEARNING[kind](length)).train()
    if ranked:
        add_ranked_head(model, k=4)
    Probe.attach(model, tmp_path, k=4, recorder=memory)
    with torch.no_grad():
        logits = model(**batch).logits[:, -batch["input_ids"].size(1) : -1]
    output = model(**batch, ranked=True) if ranked else model(**batch)
    assert output.loss.isfinite()
    (logged,) = memory.batches
    mask, ids = batch["labels"][:, 1:] != -100, batch["input_ids"][:, 1:]
    expected = oracle(logits[mask], ids[mask], 4)
    assert logged.mask.sum(1).tolist() == mask.sum(1).tolist()
    assert logged.token_id[logged.mask].tolist() == ids[mask].tolist()
    np.testing.assert_allclose(logged.logprob[logged.mask], expected["logprob"], atol=1e-4)
    np.testing.assert_allclose(logged.entropy[logged.mask], expected["entropy"], atol=1e-4)


def test_prompts_of_a_prompt_tuned_model_are_its_inputs(llama, batch, memory, tmp_path):
    model = peft.get_peft_model(llama(), PROMPT_LEARNING["prompt tuning"](4)).train()
    Probe.attach(model, tmp_path, recorder=memory)
    plain = llama()
    Probe.attach(plain, tmp_path, recorder=memory)
    model(**batch)
    plain(**batch)
    tuned, untuned = memory.response_columns
    assert tuned["prompt_id"] == untuned["prompt_id"]


def test_more_logits_than_inputs_are_refused(llama, batch, memory, tmp_path):
    class Longer(type(llama())):
        def forward(self, input_ids, **kwargs):
            return super().forward(torch.cat([input_ids[:, :1], input_ids], 1))

    model = llama()
    model.__class__ = Longer
    with pytest.raises(ProbeCannotSee, match="5 positions for 4 input_ids"):
        Probe.attach(model, tmp_path / "run")
    Probe.attach(model, tmp_path, recorder=memory, verify=False)
    with pytest.warns(RuntimeWarning, match="12 positions for 11 input_ids"):
        model(batch["input_ids"])
    assert not memory.batches


@pytest.mark.parametrize("verify", [True, False])
def test_an_encoder_decoder_is_refused(tmp_path, verify):
    sizes = {"vocab_size": 61, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).train()
    with pytest.raises(ProbeCannotSee, match="T5ForConditionalGeneration is an encoder-decoder model"):
        Probe.attach(model, tmp_path / "run", verify=verify)
    with pytest.raises(ProbeCannotSee, match="encoder-decoder"):
        add_ranked_head(model, k=2, verify=verify)
    assert not model._forward_hooks and not (tmp_path / "run").exists()


@pytest.mark.parametrize("verify", [True, False])
def test_a_masked_language_model_is_refused(tmp_path, verify):
    model = BertForMaskedLM(BertConfig(**TINY_BERT)).train()
    with pytest.raises(ProbeCannotSee, match="BertForMaskedLM is a masked language model"):
        Probe.attach(model, tmp_path / "run", verify=verify)
    assert not model._forward_hooks and not (tmp_path / "run").exists()


def test_attention_to_later_tokens_is_refused(memory, tmp_path):
    torch.manual_seed(0)
    model = BertLMHeadModel(BertConfig(**TINY_BERT)).train()  # is_decoder was forgotten
    with pytest.raises(ProbeCannotSee, match="change with later tokens"):
        Probe.attach(model, tmp_path / "run")
    Probe.attach(BertLMHeadModel(BertConfig(**TINY_BERT, is_decoder=True)).train(), tmp_path, recorder=memory)


def test_the_ranked_head_refuses_attention_to_later_tokens(llama, tmp_path):
    model = llama()
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    model.config._attn_implementation = "sdpa"
    with torch.no_grad():
        one, other = (model(torch.tensor([[3, 4, 5, last]])).logits[0, 0] for last in (6, 7))
    assert not torch.equal(one, other)  # else nothing is to be refused
    with pytest.raises(ProbeCannotSee, match="change with later tokens"):
        add_ranked_head(model, k=2)
