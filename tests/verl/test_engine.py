"""The engine under verl's own data structures and losses, on the CPU: values, gradients and rows against references."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import simko.store
import torch
import verl_engines as v
from simko.probes import add_ranked_head
from simko.probes.statistics.ranked_statistics import ranked_statistics
from simko.probes.statistics.token_stats import TokenStats
from simko.store.errors import RunExists, UsageError
from simko.trainers.engine.scored_batch import RIGHT, WRONG, scored_batch
from simko.trainers.verl.engine import RankedFSDPEngine
from simko.trainers.verl.settings import SETTINGS, Settings
from transformers import AutoModelForCausalLM
from verl.trainer.ppo.core_algos import agg_loss
from verl.utils import tensordict_utils as tu
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

METHODS = {
    "simko": {"simko_alpha": 0.3, "simko_lambda": 2.0, "simko_tau": 0.5},
    "psr": {},
    "nsr": {},
    "w_reinforce": {},
    "kl_cov": {"kl_cov_ratio": 0.3, "kl_cov_beta": 0.5},
    "clip_cov": {"clip_cov_ratio": 0.3, "clip_cov_low": -1.0, "clip_cov_high": 9.0},
    "entropy_adv": {},
    "forking_tokens": {"forking_tokens_rho": 0.5},
    "passk_training": {"passk_training_k": 1},
    "pkpo": {"pkpo_k": 2},
}
SIMKO = METHODS["simko"]


@pytest.fixture
def ask(monkeypatch):
    """Ask for settings, as the command does for every worker."""

    def ask(**settings):
        monkeypatch.setenv(SETTINGS, Settings(**settings).environment()[SETTINGS])

    return ask


@pytest.fixture
def stock(monkeypatch):
    """verl's own engine, made as ours is."""

    def make(checkpoint, **settings):
        monkeypatch.setitem(EngineRegistry._engines["language_model"]["fsdp2"], ("cpu", "simko"), FSDPEngineWithLMHead)
        return v.engine(checkpoint, **settings)

    return make


def train(engine, data, loss=None, seed=0):
    """One optimizer step without its end: the gradients are still there."""
    torch.manual_seed(seed)
    with engine.train_mode(zero_grad_on_exit=False):
        engine.optimizer_zero_grad()
        return engine.forward_backward_batch(data, v.loss() if loss is None else loss)


def values(metric):
    return metric.aggregate() if hasattr(metric, "aggregate") else metric


def reference_model(checkpoint):
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).train()


def reference_stats(checkpoint, k=5, temperature=1.0):
    """(4, 5) statistics of the responses as TRL's path has them: a padded forward through the ranked head."""
    model = reference_model(checkpoint)
    head = add_ranked_head(model, k=k, temperature=temperature)
    dense = v.dense_batch().batch
    labels = dense["input_ids"].masked_fill(dense["attention_mask"] == 0, -100)
    positions = (dense["attention_mask"].cumsum(1) - 1).clamp(min=0)
    output = model(
        input_ids=dense["input_ids"],
        attention_mask=dense["attention_mask"],
        position_ids=positions,
        labels=labels,
        ranked=True,
    )
    stats = output.stats.last(dense["responses"].size(1))
    mask = dense["response_mask"].bool()
    assert not (stats.mask & ~mask).any()
    head.remove()
    return model, stats


def off_policy(checkpoint):
    """Old log-probabilities far enough from the policy's that some ratios are clipped."""
    _, stats = reference_stats(checkpoint)
    noise = torch.randn(stats.logprob.shape, generator=torch.Generator().manual_seed(1)) * 0.4
    return (stats.logprob.detach() + noise) * stats.mask


def group_credit(objective):
    """(4,) advantages of the two groups as the estimator gives them, and GRPO's."""
    from simko.trainers.verl.advantages import group_advantages

    dense = v.dense_batch()
    advantages, returns = group_advantages(
        dense.batch["token_level_rewards"], dense.batch["response_mask"], dense.non_tensor_batch["uid"]
    )
    assert torch.equal(returns[:, 0], torch.tensor(v.REWARDS))
    return advantages[:, 0]


def reference_gradients(checkpoint, objective, old, credit, actor, micro=2, seed=0, temperature=1.0):
    """Gradients of PPO's clipped token mean, written out, over the surrogate of the objective."""
    torch.manual_seed(seed)
    model, stats = reference_stats(checkpoint, temperature=temperature)
    mask = stats.mask
    length = mask.sum(1)
    verdict = torch.tensor([RIGHT if r >= 1 else WRONG for r in v.REWARDS])
    total = 0.0
    for first in range(0, 4, micro):
        rows = slice(first, first + micro)
        part = TokenStats(*(field[rows] for field in stats))
        width = int(length[rows].max()) if micro < 4 else mask.size(1)
        part = TokenStats(*(field[:, :width] for field in part))
        inputs = {
            "verdict": verdict[rows],
            "loss_mask": part.mask,
            "advantages": credit[rows],
            "old_per_token_logps": old[rows, :width],
            "right_share": (length[verdict == RIGHT].sum() / length.sum()).double(),
            "wrong_share": (length[verdict == WRONG].sum() / length.sum()).double(),
        }
        epsilon = (actor.clip_ratio_low, actor.clip_ratio_high)
        batch = scored_batch(inputs, part.logprob, part.entropy, part, step=1, epsilon=epsilon)
        surrogate = objective(batch)
        advantages = surrogate.advantages
        advantages = advantages.unsqueeze(1) if advantages.dim() == 1 else advantages
        ratio = (surrogate.logprob - batch.old_logprob).exp()
        clipped = ratio.clamp(1 - epsilon[0], 1 + epsilon[1])
        per_token = -torch.minimum(ratio * advantages, clipped * advantages)
        per_token = torch.where(advantages < 0, torch.minimum(per_token, -advantages * actor.clip_ratio_c), per_token)
        if surrogate.penalty is not None:
            per_token = per_token + surrogate.penalty
        loss = (per_token * batch.mask).sum() / length.sum()
        loss.backward(retain_graph=True)
        total += loss.item()
    return total, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert (gradient - theirs[name]).abs().max() <= tolerance, name
    assert max(float(gradient.abs().max()) for gradient in ours.values()) > 1e-3  # there is something to compare


LAYOUTS = [
    pytest.param({"packed": True, "nested": False}, id="packed"),
    pytest.param({"packed": True, "nested": True}, id="packed-nested"),
    pytest.param({"packed": False, "nested": False}, id="padded"),
    pytest.param({"packed": False, "nested": True}, id="padded-nested"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_probe_alone_changes_nothing(layout, checkpoint, ask, stock, tmp_path):
    old = off_policy(checkpoint)
    batch = v.mini_batch(v.dense_batch(old=old), temperature=0.7, **layout)
    loss = v.loss(v.actor(entropy_coeff=0.01))
    ask(run=str(tmp_path / "run"))
    ours = v.engine(checkpoint, packed=layout["packed"])
    assert isinstance(ours, RankedFSDPEngine)
    mine, mine_gradients = train(ours, batch.clone(), copy.deepcopy(loss)), v.gradients(ours.module)
    assert ours.run_log.log.errors == 0
    ours.run_log.close()
    theirs = stock(checkpoint, packed=layout["packed"])
    assert type(theirs) is FSDPEngineWithLMHead
    other = train(theirs, batch.clone(), copy.deepcopy(loss))
    assert mine["loss"] == other["loss"]
    for name, gradient in v.gradients(theirs.module).items():
        assert torch.equal(gradient, mine_gradients[name]), name
    for name, metric in other["metrics"].items():
        assert values(metric) == values(mine["metrics"][name]), name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_rows_are_the_statistics_of_each_response_alone(layout, temperature, checkpoint, ask, tmp_path):
    ask(run=str(tmp_path / "run"))
    engine = v.engine(checkpoint, packed=layout["packed"])
    train(engine, v.mini_batch(v.dense_batch(), temperature=temperature, **layout))
    engine.optimizer_step()
    engine.run_log.close()
    assert engine.run_log.log.errors == 0
    store = simko.store.open(tmp_path / "run")
    model, checked = reference_model(checkpoint), 0
    for prompt, response in zip(v.PROMPTS, v.RESPONSES, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        expected = ranked_statistics(logits / temperature, torch.tensor(response), 5)
        text = " ".join(str(t - 3) for t in response if t > 2)
        rows = store.sql(
            "SELECT token_id, logprob, rank, entropy, collision, logp_1, logp_2, logp_3, logp_4, logp_5, "
            "id_1, id_2, id_3, id_4, id_5 FROM tokens JOIN responses USING (run, attempt, response_id) "
            f"WHERE completion = '{text}' ORDER BY position"
        ).fetchall()
        assert [row[0] for row in rows] == response
        assert [row[2] for row in rows] == expected.rank.tolist()
        assert np.allclose([row[1] for row in rows], expected.logprob, atol=2e-6)
        assert np.allclose([row[3] for row in rows], expected.entropy, atol=2e-6)
        assert np.allclose([row[4] for row in rows], expected.collision, atol=2e-6)
        assert np.allclose([row[5:10] for row in rows], expected.top_logprob, atol=2e-6)
        assert [list(row[10:]) for row in rows] == expected.top_id.tolist()
        checked += len(rows)
    assert checked == sum(map(len, v.RESPONSES)) == store.sql("SELECT count(*) FROM tokens").fetchall()[0][0]


@pytest.mark.parametrize("method", METHODS)
def test_every_objective_has_the_gradient_of_the_reference(method, checkpoint, ask):
    ask(method=method, options=METHODS[method])
    actor = v.actor()
    old, objective = off_policy(checkpoint), Settings(method=method, options=METHODS[method]).objective()
    credit = group_credit(objective)
    engine = v.engine(checkpoint)
    output = train(engine, v.mini_batch(v.dense_batch(old=old, advantages=credit.tolist()), nested=True), v.loss(actor))
    loss, expected = reference_gradients(checkpoint, objective, old, credit, actor)
    assert sum(output["loss"]) == pytest.approx(loss, abs=1e-6)
    assert_same(v.gradients(engine.module), expected, 1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_simko_has_the_gradient_of_the_reference_in_every_layout(layout, checkpoint, ask, tmp_path):
    ask(run=str(tmp_path / "run"), method="simko", options=SIMKO)
    actor = v.actor()
    old, objective = off_policy(checkpoint), Settings(method="simko", options=SIMKO).objective()
    credit = group_credit(objective)
    engine = v.engine(checkpoint, packed=layout["packed"])
    batch = v.mini_batch(v.dense_batch(old=old, advantages=credit.tolist()), temperature=0.8, micro=4, **layout)
    train(engine, batch, v.loss(actor))
    _, expected = reference_gradients(checkpoint, objective, old, credit, actor, micro=4, temperature=0.8)
    assert_same(v.gradients(engine.module), expected, 1e-6)
    assert engine.run_log.log.errors == 0
    engine.run_log.close()


def test_static_padding_of_the_packed_row_is_no_token(checkpoint, ask, tmp_path):
    ask(run=str(tmp_path / "run"), method="simko", options=SIMKO)
    engine = v.engine(checkpoint)
    plain = train(engine, v.mini_batch(v.dense_batch()))
    before = v.gradients(engine.module)
    engine.pad_to_length, engine.pad_to_length_bucket = True, 32
    padded = train(engine, v.mini_batch(v.dense_batch()))
    assert padded["loss"] == pytest.approx(plain["loss"], abs=1e-6)
    assert_same(v.gradients(engine.module), before, 1e-6)
    engine.run_log.close()
    counts = simko.store.open(tmp_path / "run").sql("SELECT count(*) FROM tokens").fetchall()
    assert counts == [(2 * sum(map(len, v.RESPONSES)),)]


@pytest.mark.parametrize("method", ["simko", "grpo"])
def test_ratios_are_one_on_the_policy_that_sampled(method, checkpoint, ask):
    ask(method=method)
    engine = v.engine(checkpoint)
    batch = v.mini_batch(v.dense_batch(), temperature=0.9, nested=True)
    with engine.eval_mode():
        output = engine.infer_batch(batch.clone())["model_output"]
    from verl.workers.utils.padding import response_from_nested

    batch["old_log_probs"] = response_from_nested(output["log_probs"], batch["response_mask"])
    metrics = train(engine, batch)["metrics"]
    assert values(metrics["actor/ppo_kl"]) == 0.0
    assert values(metrics["actor/pg_clipfrac"]) == 0.0


def test_the_push_is_read_off_verl_s_loss(checkpoint, ask, tmp_path):
    """w = A·γ where the loss does not clip, 0 where it does; whichever micro-batch a token was in."""
    ask(run=str(tmp_path / "run"))
    old = off_policy(checkpoint)
    engine = v.engine(checkpoint)
    train(engine, v.mini_batch(v.dense_batch(old=old), nested=True))
    engine.optimizer_step()
    engine.run_log.close()
    rows = simko.store.open(tmp_path / "run").sql(
        "SELECT r.advantage, t.ratio, t.weight FROM tokens t JOIN responses r USING (run, attempt, response_id) "
        "ORDER BY t.response_id, t.position"
    )
    advantage, ratio, weight = (np.array(column) for column in zip(*rows.fetchall(), strict=True))
    _, stats = reference_stats(checkpoint)
    expected = (stats.logprob - old).exp()[stats.mask].detach().numpy()
    assert np.allclose(ratio, expected, rtol=1e-4)
    clipped = ((ratio > 1.2) & (advantage > 0)) | ((ratio < 0.8) & (advantage < 0))
    assert 0 < clipped.sum() < len(clipped)
    assert np.allclose(weight, np.where(clipped, 0.0, advantage * ratio), atol=1e-5)


def test_figures_reach_verl_s_metrics(checkpoint, ask, tmp_path):
    ask(run=str(tmp_path / "run"), method="simko")
    engine = v.engine(checkpoint)
    metrics = train(engine, v.mini_batch(v.dense_batch()))["metrics"]
    engine.optimizer_step()
    engine.run_log.close()
    store = simko.store.open(tmp_path / "run")
    sql = "SELECT lambda_k FROM lambda_k WHERE verdict = 'all' AND k <= 3 ORDER BY k"
    logged = [row[0] for row in store.sql(sql).fetchall()]
    assert [values(metrics[f"lambda_{k}"]) for k in (1, 2, 3)] == pytest.approx(logged, abs=1e-6)
    share = store.sql("SELECT avg(forking::INT) FROM tokens").fetchall()[0][0]
    assert values(metrics["forking_fraction"]) == pytest.approx(share)


def test_steps_generations_and_later_epochs(checkpoint, ask, tmp_path):
    """Two rollout batches, the first trained on twice: four responses each, and every step its rows."""
    ask(run=str(tmp_path / "run"), method="simko")
    engine = v.engine(checkpoint, steps=2)
    for generation, epochs in enumerate([2, 1]):
        for _ in range(epochs):
            train(engine, v.mini_batch(v.dense_batch(), nested=True))
            engine.optimizer_step()
        assert engine.generation == generation
        engine.lr_scheduler_step()
    store = simko.store.open(tmp_path / "run")  # nobody closed the log
    assert store.sql("SELECT generation, count(*) FROM responses GROUP BY 1 ORDER BY 1").fetchall() == [(0, 4), (1, 4)]
    sql = "SELECT step, count(DISTINCT response_id), count(*) FROM tokens GROUP BY step ORDER BY step"
    tokens = sum(map(len, v.RESPONSES))
    assert store.sql(sql).fetchall() == [(1, 4, tokens), (2, 4, tokens), (3, 4, tokens)]
    assert store.sql("SELECT status FROM runs").fetchall() == [("finished",)]
    groups = store.sql("SELECT count(DISTINCT group_id), count(DISTINCT prompt_id) FROM responses").fetchall()
    assert groups == [(2, 4)]


def test_a_checkpoint_says_at_which_step_the_log_goes_on(checkpoint, ask, tmp_path):
    ask(run=str(tmp_path / "run"), method="simko")
    engine = v.engine(checkpoint)
    for _ in range(2):
        train(engine, v.mini_batch(v.dense_batch()))
        engine.optimizer_step()
    engine.lr_scheduler_step()
    states = copy.deepcopy((engine.optimizer.state_dict(), engine.lr_scheduler.state_dict()))
    engine.run_log.close("interrupted")
    with pytest.raises(RunExists, match="--resume"):
        v.engine(checkpoint)
    ask(run=str(tmp_path / "run"), method="simko", resume=True)
    again = v.engine(checkpoint)
    again.optimizer.load_state_dict(states[0])
    again.lr_scheduler.load_state_dict(states[1])
    train(again, v.mini_batch(v.dense_batch()))
    again.optimizer_step()
    again.run_log.close()
    rows = simko.store.open(tmp_path / "run").sql(
        "SELECT DISTINCT attempt, t.step, generation FROM tokens t JOIN responses USING (run, attempt, response_id) "
        "ORDER BY t.step"
    )
    assert rows.fetchall() == [(1, 1, 0), (1, 2, 0), (2, 3, 1)]


def test_responses_that_fill_a_batch_up_are_not_logged(checkpoint, ask, tmp_path):
    ask(run=str(tmp_path / "run"), method="simko")
    engine = v.engine(checkpoint)
    dense = v.dense_batch()
    dense.batch["response_mask"][1] = 0
    train(engine, v.mini_batch(dense))
    engine.optimizer_step()
    engine.run_log.close()
    assert engine.run_log.log.errors == 0
    store = simko.store.open(tmp_path / "run")
    assert store.sql("SELECT verdict FROM responses ORDER BY response_id").fetchall() == [
        ("right",),
        ("right",),
        ("wrong",),
    ]


def test_an_error_of_the_log_does_not_reach_training(checkpoint, ask, tmp_path):
    """A second temperature means other figures: the log ends, training goes on as without it."""
    ask(run=str(tmp_path / "run"))
    engine = v.engine(checkpoint)
    train(engine, v.mini_batch(v.dense_batch(), temperature=1.0))
    with pytest.warns(RuntimeWarning, match="one temperature"):
        output = train(engine, v.mini_batch(v.dense_batch(), temperature=0.5))
    assert engine.run_log.log.errors == 1
    gradients = v.gradients(engine.module)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        again = train(engine, v.mini_batch(v.dense_batch(), temperature=0.5))
    assert output["loss"] == again["loss"]
    assert all(torch.equal(gradient, gradients[name]) for name, gradient in v.gradients(engine.module).items())
    assert np.isnan(values(again["metrics"]["lambda_1"]))  # the name is still there: every process logs the same
    engine.optimizer_step()


def test_fused_kernels_are_refused_by_name(checkpoint, ask):
    ask(method="simko")
    with pytest.raises(UsageError, match="use_fused_kernels=False"):
        v.engine(checkpoint, use_fused_kernels=True)


def test_other_backends_are_refused_and_not_taken_silently(checkpoint, ask):
    ask(method="simko")
    with pytest.raises(UsageError, match="fsdp2"):
        EngineRegistry.new("language_model", "megatron", model_config=None, engine_config=None)


def test_the_reference_policy_logs_nothing_and_scores_alike(checkpoint, ask, tmp_path, monkeypatch):
    ask(run=str(tmp_path / "run"), method="simko")
    engine = v.engine(checkpoint)
    assert engine.run_log is not None
    engine.engine_config.forward_only = True
    reference = RankedFSDPEngine(engine.model_config, engine.engine_config, engine.optimizer_config, None)
    assert reference.run_log is None
    reference.module, reference._autocast_dtype = engine.module, engine._autocast_dtype
    with engine.eval_mode():
        batch = v.mini_batch(v.dense_batch())
        mine, other = engine.infer_batch(batch.clone()), reference.infer_batch(batch.clone())
    mine, other = (o["model_output"]["log_probs"].values() for o in (mine, other))
    assert torch.equal(mine, other)
    assert not (tmp_path / "run").exists()


def wrong_credit(data):
    data["advantages"] = data["advantages"] * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])


def no_rewards(data):
    del data["token_level_scores"], data["token_level_rewards"]


def other_estimator(data):
    data["returns"] = data["advantages"].clone()


def two_temperatures(data):
    data["temperature"] = torch.tensor([1.0, 0.5, 1.0, 0.5])


def distilled(data):
    tu.assign_non_tensor(data, distillation_use_topk=True)


@pytest.mark.parametrize(
    ("method", "spoil", "message"),
    [
        ("simko", wrong_credit, "one advantage per response"),
        ("simko", no_rewards, "no rewards"),
        ("nsr", other_estimator, "adv_estimator=simko"),
        ("pkpo", other_estimator, "adv_estimator=simko"),
        ("simko", two_temperatures, "one temperature"),
        ("simko", distilled, "distillation"),
    ],
)
def test_batches_that_an_objective_cannot_use_are_refused(method, spoil, message, checkpoint, ask):
    ask(method=method)
    engine = v.engine(checkpoint)
    data = v.mini_batch(v.dense_batch())
    spoil(data)
    with pytest.raises(UsageError, match=message):
        train(engine, data)


def test_in_bfloat16_the_loss_takes_float32_log_probs_of_the_logits(checkpoint, ask, tmp_path):
    """verl's own rounds them to bfloat16 where FlashAttention is not there; ours are those that are logged."""
    ask(run=str(tmp_path / "run"), method="simko")
    engine = v.engine(checkpoint)
    engine._autocast_dtype = torch.bfloat16
    seen = []
    loss = v.loss()

    def watched(model_output, **kwargs):
        seen.append(model_output["log_probs"].values().detach())
        return loss(model_output=model_output, **kwargs)

    watched.keywords = loss.keywords
    train(engine, v.mini_batch(v.dense_batch(), micro=4), watched)
    engine.run_log.close()
    sql = "SELECT logprob FROM tokens ORDER BY response_id, position"
    logged = [row[0] for row in simko.store.open(tmp_path / "run").sql(sql).fetchall()]
    rows, at = [], 0
    for prompt, response in zip(v.PROMPTS, v.RESPONSES, strict=True):
        rows += range(at + len(prompt) - 1, at + len(prompt) + len(response) - 1)
        at += len(prompt) + len(response)
    assert seen[0].dtype == torch.float32
    assert seen[0][torch.tensor(rows)].tolist() == logged


def test_a_loss_that_hides_its_configuration_is_refused(checkpoint, ask):
    ask(method="simko")
    engine = v.engine(checkpoint)
    with pytest.raises(UsageError, match="PPO loss"):
        train(engine, v.mini_batch(v.dense_batch()), loss=lambda **_: None)


def test_the_reference_sums_up_as_verl_does():
    """The written-out token mean of these tests is verl's."""
    values, mask = torch.rand(2, 3), torch.tensor([[True, True, False], [True, False, False]])
    assert agg_loss(values, mask, "token-mean", batch_num_tokens=7) == pytest.approx(float((values * mask).sum() / 7))
