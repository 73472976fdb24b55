"""Every method through TRL's own loss: it trains, and what is added to the loss has the loss's normaliser."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from simko.store.errors import UsageError
from simko.trainers.engine.trainer import RankedGRPOTrainer
from simko.trainers.options.arguments import RunArguments
from simko.trainers.options.methods import METHODS, check_group, check_loss, hyperparameters, objective_of, owner
from tiny import config, first_is_even, history, prompts
from trl import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

PROMPTS = prompts()


def trainer_of(method, folder, tiny_llama, tiny_tokenizer, **overrides):
    run = RunArguments(
        method=method, simko_alpha=0.1, simko_k=3, simko_tau=0.5, simko_lambda=1.1, passk_training_k=2, pkpo_k=2
    )
    args = config(folder, **(METHODS[method].config | overrides))
    return RankedGRPOTrainer(
        tiny_llama(), first_is_even, args, PROMPTS, processing_class=tiny_tokenizer, objective=objective_of(run)
    )


def plain_logprob(model, inputs):
    """(B, T) of the sampled tokens, from the model's logits."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    width = inputs["completion_ids"].size(1)
    logp = model(ids, attention_mask=attention).logits[:, -width - 1 : -1].log_softmax(-1)
    return logp.gather(-1, inputs["completion_ids"].unsqueeze(-1)).squeeze(-1)


def test_every_method_trains_and_differs_from_grpo_and_from_the_others(tiny_llama, tiny_tokenizer, tmp_path):
    """Not one of them falls back silently: after a rollout batch's second step all weights differ."""
    ends = {}
    start = list(tiny_llama().parameters())
    for method in METHODS:
        trainer = trainer_of(method, tmp_path / method, tiny_llama, tiny_tokenizer, max_steps=2)
        trainer.train()
        rows = [row for row in history(trainer) if "grad_norm" in row]
        assert len(rows) == 2 and all(row["grad_norm"] > 0 for row in rows), method
        end = [p.detach() for p in trainer.model.parameters()]
        assert not any(torch.equal(a, b) for a, b in zip(end, start, strict=True)), method
        ends[method] = torch.cat([p.flatten() for p in end])
    same = [
        (a, b)
        for i, a in enumerate(METHODS)
        for b in list(METHODS)[i + 1 :]
        if torch.allclose(ends[a], ends[b], atol=1e-7)
    ]
    # No ratio of this short run leaves 1 ± .2, and inside it clip-higher and CISPO have GRPO's gradient.
    assert set(same) == {("grpo", "dapo"), ("grpo", "cispo"), ("dapo", "cispo")}


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_an_extra_loss_has_the_normaliser_of_the_loss(loss_type, accumulation, tiny_llama, tiny_tokenizer, tmp_path):
    """On the first pass TRL's per-token loss is -A (cispo: -A log π), so its sum can be had from outside."""
    level = "sequence" if loss_type == "luspo" else "token"
    trainer = RankedGRPOTrainer(
        tiny_llama(),
        first_is_even,
        config(
            tmp_path,
            loss_type=loss_type,
            importance_sampling_level=level,
            gradient_accumulation_steps=accumulation,
            epsilon_high=10.0,
        ),
        PROMPTS,
        processing_class=tiny_tokenizer,
    )
    trainer.current_gradient_accumulation_steps = accumulation
    trainer.model.train()
    inputs = trainer._generate_and_score_completions([PROMPTS[i // 4] for i in range(16)])
    inputs.pop("old_per_token_logps", None)
    mask = inputs["completion_mask"].bool()
    per_token = -inputs["advantages"].unsqueeze(1).expand(mask.shape)
    if loss_type == "cispo":
        per_token = per_token * plain_logprob(trainer.model, inputs)
    loss = trainer._compute_loss(trainer.model, inputs)
    ours = trainer._normalised(per_token, inputs | {"loss_mask": mask})
    assert loss.item() == pytest.approx(ours.item(), abs=1e-6)


def test_the_mean_over_the_kept_class_holds_or_is_refused_for_every_loss_type(tiny_llama, tiny_tokenizer, tmp_path):
    """On the first pass a loss is the mean of -A, or of -A log π, over the kept tokens of all micro-batches."""
    named = re.findall(r"loss_type (?:==|in) (\[.*?\]|\".*?\")", inspect.getsource(GRPOTrainer._compute_loss))
    every = set(re.findall(r'"(\w+)"', " ".join(named)))
    assert every >= {"grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo"}
    parts = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "steps_per_generation": 4}
    for method in ("psr", "nsr", "w_reinforce"):
        for loss_type in sorted(every - {"dapo", "cispo", "vespo"}):
            with pytest.raises(UsageError, match=f"loss_type {loss_type} .*choose loss_type dapo or cispo or vespo"):
                check_loss(RunArguments(method=method), loss_type)
    check_loss(RunArguments(method="simko"), "grpo")
    with pytest.raises(UsageError, match="loss_type bnpo"):
        trainer_of("nsr", tmp_path, tiny_llama, tiny_tokenizer, loss_type="bnpo")
    for method, sign in (("psr", -1.0), ("nsr", 1.0)):
        trainer = trainer_of(method, tmp_path, tiny_llama, tiny_tokenizer, epsilon_high=10.0, **parts)
        trainer.current_gradient_accumulation_steps = 4
        trainer.model.train()
        whole = trainer._generate_and_score_completions([PROMPTS[i // 4] for i in range(16)])
        whole.pop("old_per_token_logps", None)
        kept = (whole["verdict"] == (sign > 0)).unsqueeze(1) & whole["completion_mask"].bool()
        with torch.no_grad():
            logprob = plain_logprob(trainer.model, whole)
        assert 0 < kept.any(1).sum() < 16
        for loss_type in ("dapo", "cispo", "vespo"):
            trainer.loss_type = loss_type
            losses = [trainer._compute_loss(trainer.model, micro).item() for micro in split_tensor_dict(whole, 4)]
            wanted = sign if loss_type == "dapo" else sign * logprob[kept].mean().item()
            assert sum(losses) == pytest.approx(wanted, rel=1e-5), loss_type
            assert len({round(loss, 4) for loss in losses}) > 1


def test_a_k_that_no_group_can_tell_is_refused():
    with pytest.raises(UsageError, match="--passk_training_k 8 must be below --num_generations 8"):
        check_group(RunArguments(method="passk_training", passk_training_k=8), 8)
    with pytest.raises(UsageError, match="--pkpo_k 9 must not exceed --num_generations 8"):
        check_group(RunArguments(method="pkpo", pkpo_k=9), 8)
    check_group(RunArguments(method="pkpo", pkpo_k=8), 8)
    check_group(RunArguments(method="grpo", passk_training_k=99), 8)


def test_options_belong_to_the_method_they_are_named_after():
    run = RunArguments(method="kl_cov")
    assert hyperparameters(run) == {"kl_cov_ratio": 2e-3, "kl_cov_beta": 1.0}
    assert owner("kl_cov_beta") == "kl_cov"
    assert owner("probe_k") is None
    assert owner("pass_at_k_steps") is None
    assert hyperparameters(RunArguments(method="grpo")) == {}
