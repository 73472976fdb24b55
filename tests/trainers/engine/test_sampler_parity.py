"""Rollouts of another sampler: what it reported is logged per token, and a sampler of another policy stops the run."""

from __future__ import annotations

import pytest
import simko.store
import torch
from samplers import rollouts
from simko.probes.probe import Probe
from simko.trainers.engine import RankedGRPOTrainer
from simko.trainers.engine.sampler import sampler_description
from simko.trainers.engine.sampler_parity import ENOUGH_TOKENS, SamplerParity
from simko.trainers.errors import SamplerMismatch
from simko.trainers.objectives import SimKO
from simko.trainers.options.arguments import own_options
from tiny import config, first_is_even, prompts

GAP = own_options()["sampler_gap"].default


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


@pytest.fixture
def make(tiny_llama, tiny_tokenizer, tmp_path):
    """A trainer whose rollouts another sampler draws."""

    def trainer_of(draw, on_gap="stop", gap=GAP, objective=None, rounds=1, **overrides):
        trainer = RankedGRPOTrainer(
            tiny_llama(),
            first_is_even,
            config(tmp_path / "out", **overrides),
            prompts(),
            processing_class=tiny_tokenizer,
            rollout_func=draw,
            objective=objective,
            rounds=rounds,
        )
        trainer.watch_sampler(SamplerParity(gap, on_gap, trainer.accelerator))
        return trainer

    return trainer_of


def garbled(model, how):
    """A copy of the policy as a faulty reload leaves it."""
    if how == "tied":
        model.lm_head.weight = model.model.embed_tokens.weight
    elif how == "garbled":
        torch.nn.init.normal_(model.lm_head.weight, std=0.3)
    return model


HEALTHY = {
    "off_policy": {},
    "two_iterations": {"num_iterations": 2},
    "micro_batched": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "steps_per_generation": 4},
}


@pytest.mark.parametrize("case", HEALTHY)
def test_a_healthy_sampler_passes_and_every_token_keeps_what_it_reported(case, make, tmp_path):
    reported = {}

    def draw(texts, trainer):
        drawn = rollouts()(texts, trainer)
        first = trainer._generation() * len(texts)
        reported.update({first + i: (ids, drawn["logprobs"][i]) for i, ids in enumerate(drawn["completion_ids"])})
        return drawn

    trainer = make(draw, gap=1e-4, **HEALTHY[case])
    with Probe.attach(trainer.model, tmp_path / "run", k=3) as probe:
        trainer.attach(probe)
        trainer.train()
    with simko.store.open(tmp_path / "run") as connection:
        rows = connection.execute("SELECT response_id, position, token_id, sampler_logprob FROM tokens").fetchall()
        gap, ratio = connection.execute(
            "SELECT max(mean_gap), max(share_outside) FROM mismatch WHERE p_from = 0 AND p_to = 1"
        ).fetchall()[0]
    assert len({row[0] for row in rows}) == len(reported)
    for response, position, token, logprob in rows:
        ids, given = reported[response]
        assert token == ids[position]
        assert logprob == pytest.approx(given[position], abs=1e-7)
    assert 0 < gap < 1e-5
    assert ratio == 0


def test_a_sampler_in_bfloat16_passes(make, tiny_llama):
    make(rollouts(tiny_llama().bfloat16()), max_steps=2).train()


def test_the_batch_that_dynamic_sampling_makes_keeps_its_log_probs(make):
    make(rollouts(), gap=1e-4, rounds=3, max_steps=2).train()


def test_it_guards_a_method_without_a_probe(make):
    make(rollouts(), gap=1e-4, objective=SimKO(alpha=0.3, k=3), max_steps=2).train()


FAULTS = {
    "a temperature of 0.7": lambda llama: rollouts(temperature=0.7),
    "tied embeddings": lambda llama: rollouts(garbled(llama(), "tied")),
    "a garbled head": lambda llama: rollouts(garbled(llama(), "garbled")),
    "another policy": lambda llama: rollouts(llama(seed=1)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_stops_before_the_first_step(fault, make, tiny_llama):
    trainer = make(FAULTS[fault](tiny_llama))
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    with pytest.raises(SamplerMismatch, match=r"^step 1: the sampler's log-probs differ .*\(--sampler_gap ") as raised:
        trainer.train()
    assert "\n" not in str(raised.value)
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))


@pytest.mark.parametrize("changed", [{"temperature": 0.9}, {"top_p": 0.9}], ids=str)
def test_a_slight_fault_is_caught_where_precisions_agree(changed, make):
    with pytest.raises(SamplerMismatch, match=r"^step 1: "):
        make(rollouts(**changed), gap=0.01).train()


def test_stale_weights_stop_it_when_the_policy_has_moved(make, tiny_llama):
    """Healthy at first: only comparing at every step shows that the sampler stays where it was."""
    trainer = make(rollouts(tiny_llama()), learning_rate=1e-2, max_steps=8)
    with pytest.raises(SamplerMismatch, match=r"^step 3: .*weights that are not synchronised"):
        trainer.train()


def test_a_warning_is_given_once_and_training_goes_on(make, capsys):
    trainer = make(rollouts(temperature=0.7), on_gap="warn")
    trainer.train()
    assert trainer.state.global_step == 4
    assert capsys.readouterr().err.count("training goes on (--on_sampler_gap warn)") == 1


class _Alone:
    num_processes, is_main_process = 1, True

    @staticmethod
    def reduce(tensor, reduction):
        return tensor


def inputs_of(reported):
    return {"sampling_per_token_logps": reported, "loss_mask": torch.ones_like(reported, dtype=torch.bool)}


def test_few_tokens_wait_for_more():
    parity = SamplerParity(0.1, "stop", _Alone())
    for _ in range(ENOUGH_TOKENS - 1):
        parity.see(inputs_of(torch.tensor([[0.0]])), torch.tensor([[-3.0]]), 1)
    with pytest.raises(SamplerMismatch, match=f"by 3 nats on average over {ENOUGH_TOKENS} tokens"):
        parity.see(inputs_of(torch.tensor([[0.0]])), torch.tensor([[-3.0]]), 1)


def test_tokens_without_a_log_prob_and_padding_do_not_count():
    parity = SamplerParity(0.1, "stop", _Alone())
    reported = torch.full((2, ENOUGH_TOKENS), -1.0)
    reported[0, 0] = torch.nan
    inputs = inputs_of(reported)
    inputs["loss_mask"][1] = False
    scored = torch.full_like(reported, -1.0)
    scored[1] = -9.0
    parity.see(inputs, scored, 1)  # one short of enough: NaN is no token, the second row is padding
    assert parity._sums.tolist() == [0.0, ENOUGH_TOKENS - 1]


def test_a_policy_sampled_in_process_reports_nothing(make, tmp_path):
    trainer = make(None, max_steps=1)
    with Probe.attach(trainer.model, tmp_path / "run", k=3, info={"sampler": sampler_description(trainer)}) as probe:
        trainer.attach(probe)
        trainer.train()
    with simko.store.open(tmp_path / "run") as connection:
        assert connection.execute("SELECT count(sampler_logprob), count(*) > 0 FROM tokens").fetchall() == [(0, True)]
        assert connection.execute("SELECT count(*) FROM mismatch").fetchall() == [(0,)]


def test_the_run_says_who_sampled(make):
    about = sampler_description(make(None, temperature=0.8, top_p=0.95))
    assert about == {
        "engine": "transformers",
        "logprobs": "none",
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 0,
        "min_p": None,
        "repetition_penalty": 1.0,
    }
    assert sampler_description(make(rollouts()))["engine"] == "rollout_func"
