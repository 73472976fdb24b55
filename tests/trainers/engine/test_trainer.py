"""The seams to TRL: with no objective the losses are stock GRPOTrainer's to every printed digit, probe or not."""

from __future__ import annotations

import math

import duckdb
import pytest
import simko.store
import torch
from effort import some
from simko.probes.probe import Probe
from simko.trainers.engine.trainer import RankedGRPOTrainer
from simko.trainers.objectives import SimKO
from tiny import assert_same_history, config, even_share, first_is_even, history, prompts
from trl import GRPOTrainer

PROMPTS = prompts()

CASES = {
    "off_policy": {},
    "micro_batched": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "steps_per_generation": 4},
    "two_iterations": {"num_iterations": 2},
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "lora": {},
    "lora_with_reference": {"beta": 0.05},
    "sequence_level": {"importance_sampling_level": "sequence", "loss_type": "grpo"},
}


@pytest.mark.parametrize("case", some(list(CASES), 2))
def test_grpo_with_probe_equals_stock_trl(case, tiny_llama, tiny_tokenizer, tmp_path):
    extra = {}
    if "lora" in case:
        from peft import LoraConfig

        extra["peft_config"] = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    histories, weights = [], []
    for kind in (GRPOTrainer, RankedGRPOTrainer):
        args = config(tmp_path / kind.__name__, **CASES[case])
        trainer = kind(tiny_llama(), even_share, args, PROMPTS, processing_class=tiny_tokenizer, **extra)
        if kind is RankedGRPOTrainer:
            with Probe.attach(trainer.model, tmp_path / "run", k=3) as probe:
                trainer.attach(probe)
                trainer.train()
        else:
            trainer.train()
        histories.append(history(trainer))
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    assert_same_history(histories[1], histories[0])
    assert any(row.get("grad_norm", 0) > 0 for row in histories[0])
    torch.testing.assert_close(weights[0], weights[1], atol=2e-5, rtol=0)
    rows = duckdb.sql(f"SELECT count(*), count(DISTINCT step) FROM '{tmp_path}/run/tokens/*.parquet'").fetchall()[0]
    assert rows[0] > 0
    assert rows[1] == 4


def test_the_probes_k_is_independent_of_the_methods(tiny_llama, tiny_tokenizer, tmp_path):
    """SimKO smooths over three candidates whether two, three or seven are logged, or none."""
    histories, tokens, pushes = {}, {}, {}
    for k in (None, 2, 3, 7):
        objective = SimKO(alpha=0.3, k=3, tau=0.5, penalty=1.5)
        args = config(tmp_path / f"k{k}", max_steps=2)
        trainer = RankedGRPOTrainer(
            tiny_llama(), first_is_even, args, PROMPTS, processing_class=tiny_tokenizer, objective=objective
        )
        if k is None:
            trainer.train()
        else:
            info = {"smoothing": {"k": 3, "weighting": "uniform"}}
            with Probe.attach(trainer.model, tmp_path / f"run{k}", k=k, info=info) as probe:
                trainer.attach(probe)
                trainer.train()
            with simko.store.open(tmp_path / f"run{k}") as connection:
                columns = ", ".join(f"logp_{rank}, id_{rank}" for rank in range(1, k + 1))
                order = "ORDER BY step, response_id, position"
                tokens[k] = connection.sql(
                    f"SELECT logprob, rank, entropy, smoothing, {columns} FROM all_tokens {order}"
                ).df()
                pushes[k] = (
                    connection.sql("SELECT push FROM push WHERE verdict = 'all' AND k = 1 ORDER BY step")
                    .df()
                    .push.tolist()
                )
        histories[k] = history(trainer)
    for k in (2, 3, 7):
        assert_same_history(histories[k], histories[None])
        assert tokens[7][tokens[k].columns].equals(tokens[k])
        assert (tokens[k][f"logp_{k}"] <= tokens[k]["logp_1"]).all()
    assert (tokens[3].smoothing > 0).any()
    assert pushes[3] == pytest.approx(pushes[7]) and len(pushes[3]) == 2
    assert pushes[2] == []  # of three smoothed candidates two are known: nothing is said of the push


def test_without_probe_and_objective_nothing_is_patched(tiny_llama, tiny_tokenizer, tmp_path):
    stock = GRPOTrainer(tiny_llama(), even_share, config(tmp_path), PROMPTS, processing_class=tiny_tokenizer)
    ours = RankedGRPOTrainer(tiny_llama(), even_share, config(tmp_path), PROMPTS, processing_class=tiny_tokenizer)
    assert ours.model.forward.__func__.__qualname__ == stock.model.forward.__func__.__qualname__
    assert len(ours.model._forward_hooks) == len(stock.model._forward_hooks)


@pytest.mark.parametrize("off", [SimKO(tau=1.0), SimKO(alpha=0.0, tau=0.0, penalty=1.0)])
def test_simko_switched_off_is_grpo(off, tiny_llama, tiny_tokenizer, tmp_path):
    stock = GRPOTrainer(tiny_llama(), even_share, config(tmp_path), PROMPTS, processing_class=tiny_tokenizer)
    stock.train()
    ours = RankedGRPOTrainer(
        tiny_llama(), even_share, config(tmp_path), PROMPTS, processing_class=tiny_tokenizer, objective=off
    )
    ours.train()
    assert_same_history(history(ours), history(stock))


def test_simko_gradient_through_the_engine_is_the_formulas(tiny_llama, tiny_tokenizer, tmp_path):
    """One micro-batch through TRL's loss against the loss written out from the logits in float64."""
    objective = SimKO(alpha=0.3, k=3, tau=0.5, penalty=1.5)
    model = tiny_llama().double()
    trainer = RankedGRPOTrainer(
        model, even_share, config(tmp_path), PROMPTS, processing_class=tiny_tokenizer, objective=objective
    )
    trainer.current_gradient_accumulation_steps = 1
    rows = [PROMPTS[i // 4] for i in range(32)]
    trainer.model.train()
    inputs = trainer._generate_and_score_completions(rows)
    inputs["old_per_token_logps"] = inputs["old_per_token_logps"] + 0.15 * torch.sin(
        torch.arange(inputs["completion_ids"].numel(), dtype=torch.float64).view_as(inputs["completion_ids"])
    )
    loss = trainer._compute_loss(trainer.model, inputs)
    names, parameters = zip(*trainer.model.named_parameters(), strict=True)
    got = torch.autograd.grad(loss, parameters)

    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    width = inputs["completion_ids"].size(1)
    logp = model(ids, attention_mask=attention).logits[:, -width - 1 : -1].log_softmax(-1)
    logprob = logp.gather(-1, inputs["completion_ids"].unsqueeze(-1)).squeeze(-1)
    mask = inputs["completion_mask"].bool()
    entropy = -(logp.exp() * logp).sum(-1).detach()
    threshold = torch.stack([h[m].quantile(0.5) for h, m in zip(entropy, mask, strict=True)]).unsqueeze(1)
    fork = (entropy > threshold) & mask
    ratio = (logprob - inputs["old_per_token_logps"]).exp()
    top = logp.topk(3, -1).values
    carrier = ratio.detach().unsqueeze(-1) * (top - top.detach()).exp()
    right = (inputs["verdict"] == 0).unsqueeze(1)
    weight = 0.3 * (fork & right)
    gamma = (1 - weight) * ratio + weight * carrier.mean(-1)
    advantage = inputs["advantages"].unsqueeze(1).expand_as(ratio)
    rank_one = inputs["completion_ids"] == logp.argmax(-1)
    advantage = torch.where((advantage < 0) & fork & rank_one, 1.5 * advantage, advantage)
    per_token = torch.maximum(-advantage * gamma, -advantage * gamma.clamp(0.8, 1.2))
    normaliser = inputs["num_items_in_batch"] / 2
    expected_loss = (per_token * mask).sum() / normaliser
    expected = torch.autograd.grad(expected_loss, parameters)
    assert fork.any() and right.any() and not right.all()
    assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-6)
    for name, ours, theirs in zip(names, got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_verdicts_reach_the_log_and_the_unjudged_teach_nothing(tiny_llama, tiny_tokenizer, tmp_path):
    def sometimes_silent(completions, **_):
        return [None if i % 3 == 0 else float(i % 3 == 1) for i, _ in enumerate(completions)]

    trainer = RankedGRPOTrainer(
        tiny_llama(), sometimes_silent, config(tmp_path / "out"), PROMPTS, processing_class=tiny_tokenizer
    )
    with Probe.attach(trainer.model, tmp_path / "run", k=3) as probe:
        trainer.attach(probe)
        trainer.train()
    responses = f"'{tmp_path}/run/responses/*.parquet'"
    verdicts = dict(duckdb.sql(f"SELECT verdict, count(*) FROM {responses} GROUP BY 1").fetchall())
    assert verdicts == {"right": 22, "wrong": 20, "unjudged": 22}
    assert duckdb.sql(
        f"SELECT bool_and(reward IS NULL AND advantage = 0) FROM {responses} WHERE verdict = 'unjudged'"
    ).fetchall() == [(True,)]
    joined = duckdb.sql(
        f"SELECT count(*), sum((t.n = r.n_tokens)::int) FROM {responses} r JOIN "
        f"(SELECT response_id, count(*) n FROM '{tmp_path}/run/tokens/*.parquet' GROUP BY ALL) t USING (response_id)"
    ).fetchall()[0]
    assert joined == (64, 64)


def test_lambda_1_of_the_log_is_the_models(tiny_llama, tiny_tokenizer, tmp_path):
    """The first step's token rows against the untouched model's own softmax."""
    trainer = RankedGRPOTrainer(
        tiny_llama(), even_share, config(tmp_path / "out", max_steps=1), PROMPTS, processing_class=tiny_tokenizer
    )
    with Probe.attach(trainer.model, tmp_path / "run", k=3, tokenizer=tiny_tokenizer) as probe:
        trainer.attach(probe)
        trainer.train()
    rows = duckdb.sql(
        f"SELECT r.prompt, list(t.token_id ORDER BY t.position), list(t.logp_1 ORDER BY t.position), "
        f"list(t.rank ORDER BY t.position) FROM '{tmp_path}/run/tokens/*.parquet' t "
        f"JOIN '{tmp_path}/run/responses/*.parquet' r USING (response_id) GROUP BY t.response_id, r.prompt"
    ).fetchall()
    assert len(rows) == 16
    model = tiny_llama()
    for prompt, token_ids, logp_1, ranks in rows:
        prompt_ids = tiny_tokenizer(prompt)["input_ids"]
        with torch.no_grad():
            logp = model(torch.tensor([prompt_ids + token_ids])).logits[0].log_softmax(-1)
        for i, token in enumerate(token_ids):
            at = logp[len(prompt_ids) + i - 1]
            assert math.isclose(at.max().item(), logp_1[i], abs_tol=1e-4)
            assert int((at > at[token]).sum()) + 1 == ranks[i]


def test_lambda_in_the_trackers_logs_is_lambda_in_the_store(tiny_llama, tiny_tokenizer, tmp_path):
    args = config(
        tmp_path / "out", per_device_train_batch_size=4, gradient_accumulation_steps=4, steps_per_generation=4
    )
    trainer = RankedGRPOTrainer(tiny_llama(), even_share, args, PROMPTS, processing_class=tiny_tokenizer)
    with Probe.attach(trainer.model, tmp_path / "run", k=3) as probe:
        trainer.attach(probe)
        trainer.train()
    with simko.store.open(tmp_path / "run") as connection:
        rows = connection.sql("SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all'").fetchall()
    logged = {row["step"]: row for row in trainer.state.log_history if "simko/lambda_1" in row}
    assert len(rows) == 12
    for step, k, value in rows:
        assert logged[step][f"simko/lambda_{k}"] == pytest.approx(value, abs=1e-6)
