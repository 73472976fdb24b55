"""The built-in base policy: what ships is what was recorded, and it can be made again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from simko.trainers.evaluation.pass_at_k import evaluate
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.models.base_policy.build import VOCABULARY, build_model, build_tokenizer, train
from simko.trainers.models.loading import load_model
from simko.trainers.tasks import task_for
from simko.trainers.tasks.countdown import problems, split
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

RECORDED = {1: 0.2454, 8: 0.7620, 64: 0.9765, 256: 0.9981}
"""Held-out exact pass@k of the checkpoint shipped."""


@pytest.fixture(scope="module")
def policy():
    return load_model()


def heldout_pass_at_k(model, tokenizer):
    return evaluate(model, tokenizer, task_for("countdown")).pass_at_k


def test_the_shipped_checkpoint_has_the_recorded_pass_at_k(policy):
    """Within .0005: float32 sums of another processor, nothing else."""
    result = heldout_pass_at_k(*policy)
    assert {k: result[k] for k in RECORDED} == pytest.approx(RECORDED, abs=5e-4)


def test_the_shipped_checkpoint_is_a_small_llama(policy):
    model, tokenizer = policy
    assert type(model) is LlamaForCausalLM
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    assert sum(p.numel() for p in model.parameters()) == 107_968
    assert sum(file.stat().st_size for file in COUNTDOWN_BASE.iterdir()) < 1_000_000
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert len(VOCABULARY) == len(tokenizer) == model.config.vocab_size == 57


def test_the_shipped_tokenizer_is_the_one_that_would_be_built():
    shipped = json.loads((COUNTDOWN_BASE / "tokenizer.json").read_text())
    assert shipped["model"] == json.loads(build_tokenizer().backend_tokenizer.to_str())["model"]
    assert tuple(sorted(shipped["model"]["vocab"], key=shipped["model"]["vocab"].get)) == VOCABULARY


@pytest.mark.parametrize("name", [None, "countdown-base", str(COUNTDOWN_BASE), COUNTDOWN_BASE])
def test_every_name_of_the_checkpoint_loads_it(name):
    model, tokenizer = load_model(name)
    assert model.config.hidden_size == 64
    assert tokenizer.padding_side == "left"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert model.config.pad_token_id == model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_every_text_of_the_task_survives_the_tokenizer(policy):
    tokenizer = policy[1]
    for text in {t for p in problems() for t in (p.prompt, *p.answers)}:
        ids = tokenizer(text)["input_ids"]
        assert len(ids) == 1 + len(text.split())  # <bos> and a token a word
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == text


def test_prompts_start_in_training_as_they_do_in_building(policy):
    """A plain `tokenizer(text)`, which is what TRL calls, gives the ids the supervised policy was shown."""
    tokenizer = policy[1]
    prompt, answer = "3 4 5 35", "3 + 4 * 5"
    shown = build_tokenizer()(f"{prompt} {answer} <eos>")["input_ids"]
    ids = tokenizer(prompt)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert shown == [*ids, *tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def test_left_padding_changes_nothing(policy):
    """Llama's rotary positions are relative and padding is masked: the same next-token distribution."""
    model, tokenizer = policy
    prompt = tokenizer("3 4 5 35", return_tensors="pt")
    padded = tokenizer("3 4 5 35", return_tensors="pt", padding="max_length", max_length=12)
    assert padded["attention_mask"].sum() == 5
    with torch.no_grad():
        plain, moved = (torch.log_softmax(model(**x).logits[0, -1], -1) for x in (prompt, padded))
    assert torch.allclose(plain, moved, atol=1e-4)


def test_building_starts_from_the_seed_and_nothing_else():
    first, second, other = build_model(3), build_model(3), build_model(4)
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_building_sees_training_problems_alone(monkeypatch):
    seen = []
    import simko.trainers.models.base_policy.build as build

    sample = build._sample
    monkeypatch.setattr(build, "_sample", lambda *given: seen.append(sample(*given)) or seen[-1])
    train(seed=0, steps=40)
    parts = split()
    training, heldout = ({p.prompt: p for p in part} for part in (parts.train, parts.validation + parts.heldout))
    assert {prompt for prompt, _ in seen} == set(training)
    assert not {prompt for prompt, _ in seen} & set(heldout)
    right = sum(response in training[prompt].answers for prompt, response in seen) / len(seen)
    # 70 % drawn from the right answers, and those of the other 30 % that are right by chance
    assert 0.70 < right < 0.76
    for prompt, response in seen:
        assert sorted(response.split()[::2]) == prompt.split()[:3]


@pytest.mark.slow
def test_a_checkpoint_built_anew_is_as_good(tmp_path):
    """The documented command, whole. The weights are the shipped ones where processor and libraries are the same.

    Elsewhere they differ as another seed's do: seeds 0, 1 and 2 lay within .005 of each other at pass@1, .02 at @8, .01
    at @64 and .003 at @256. The bounds are wider than that spread.
    """
    command = [sys.executable, "-m", "simko.trainers.models.base_policy.build", "--output", str(tmp_path / "policy")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "kB" in done.stdout
    result = heldout_pass_at_k(
        AutoModelForCausalLM.from_pretrained(tmp_path / "policy"), AutoTokenizer.from_pretrained(tmp_path / "policy")
    )
    assert result[1] == pytest.approx(RECORDED[1], abs=0.025)
    assert result[8] == pytest.approx(RECORDED[8], abs=0.05)
    assert result[64] > 0.95
    assert result[256] > 0.99
