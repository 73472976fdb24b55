"""The push of every method against autograd on the logits: formula, gradient reading, log and SQL say the same."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import simko.store
import torch
from batches import random_batch
from effort import THOROUGH, some
from scoring import scored
from simko.probes import Probe
from simko.store import Recorder, TokenBatch
from simko.store.layout.run import create_or_resume
from simko.store.writing.batch import Credit
from simko.store.writing.push import entropy_push, push_on_ranks
from simko.store.writing.rollup import Rollup
from simko.trainers.engine.logit_gradient import logit_gradient
from simko.trainers.engine.trainer import RankedGRPOTrainer
from simko.trainers.options.methods import METHODS, objective_of
from simko.trainers.options.parsing import parse
from tiny import config, first_is_even, llama, prompts, tokenizer

TRAINED = ["grpo", "simko", "entropy_loss", "nsr"]
"""Methods whose training runs are looked at in `make test`; the algebra of every method is checked without training."""
OBJECTIVES = [name for name, method in METHODS.items() if method.objective is not None]
SIMKO = [["--simko_lambda_on", "ratio"], ["--simko_weighting", "softmax"], ["--simko_terms", "negative"]]
FORCED = {
    "simko": ["--simko_alpha", "0.3", "--simko_tau", "0.5", "--simko_lambda", "1.5"],
    "passk_training": ["--passk_training_k", "2"],
}


def objective(method, *options):
    run, _ = parse(["--method", method, "--run_name", "x", *FORCED.get(method, []), *options])
    return objective_of(run)


def micro_batch(seed, *, rows=5, width=4, vocabulary=7):
    """Random logits with responses of both verdicts and ragged lengths; some ratios are clipped."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, width, vocabulary, dtype=torch.float64, generator=random) * 2
    token = torch.randint(vocabulary, (rows, width), generator=random)
    mask = torch.arange(width) < torch.randint(2, width + 1, (rows, 1), generator=random)
    logprob = logits.log_softmax(-1).gather(-1, token[..., None])[..., 0]
    old = logprob + 0.15 * torch.randn(rows, width, dtype=torch.float64, generator=random)
    right = torch.tensor([True, False, True, False, False])
    advantages = torch.where(right, 1.2, -0.8).double()
    return logits, token, old, mask, advantages, right


def change_along(direction, logits):
    """(B, T, V) how log p changes to first order when the logits move along a direction."""
    return direction - (logits.softmax(-1) * direction).sum(-1, keepdim=True)


def entropy_change_along(direction, logits):
    """(B, T) how the entropy changes to first order when the logits move along a direction, by autograd."""
    logits = logits.detach().requires_grad_(True)
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    return (torch.autograd.grad(entropy.sum(), logits)[0] * direction).sum(-1)


@pytest.mark.parametrize("weight_of_entropy", [0.0, 0.05], ids=["", "entropy bonus"])
@pytest.mark.parametrize(
    ("method", "options"),
    [*((m, []) for m in ("grpo", *OBJECTIVES)), *(("simko", o) for o in SIMKO)],
    ids=lambda v: v if isinstance(v, str) else " ".join(v),
)
def test_push_is_the_derivative_of_ranked_log_probabilities_and_of_the_entropy(method, options, weight_of_entropy):
    logits, token, old, mask, advantages, right = micro_batch(1)
    logits.requires_grad_(True)
    made = None if method == "grpo" else objective(method, *options)
    k = 4
    if method in ("psr", "nsr", "w_reinforce"):
        rewards = right.double().view(1, -1)
        advantages = made.group_advantages(rewards, advantages.view(1, -1)).flatten()
    batch = scored(logits, token, mask, advantages, right, k, old)
    torch.manual_seed(0)
    loss = clipped_loss(made, batch) - weight_of_entropy * (batch.entropy * mask).sum() / mask.sum()
    share = mask.double() / mask.sum()
    credit = logit_gradient(loss, batch, share, made)
    gradient = torch.autograd.grad(loss, logits)[0]
    per_token = torch.where(mask, 1 / share.clamp(min=1e-30), 0.0)
    expected = change_along(-gradient * per_token[..., None], logits.detach())
    ranked = logits.detach().log_softmax(-1).topk(k, -1)

    push = push_on_ranks(as_token_batch(logits.detach(), token, mask, right, k, credit), k)
    np.testing.assert_allclose(push, expected.gather(-1, ranked.indices), rtol=1e-10, atol=1e-12)
    assert np.abs(push).max() > 0.01
    of_entropy = entropy_push(as_token_batch(logits.detach(), token, mask, right, k, credit))
    expected = entropy_change_along(-gradient * per_token[..., None], logits)
    np.testing.assert_allclose(of_entropy, expected, rtol=1e-10, atol=1e-12)
    assert np.abs(of_entropy).max() > 0.01
    if method == "simko" and "negative" not in options:
        assert (credit.smoothing[mask] > 0).any()


def clipped_loss(made, batch):
    from simko.trainers.objectives import Surrogate

    surrogate = Surrogate(batch.logprob, batch.advantages) if made is None else made(batch)
    ratio = (surrogate.logprob - batch.old_logprob).exp()
    advantages = surrogate.advantages if surrogate.advantages.dim() == 2 else surrogate.advantages[:, None]
    per_token = -torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    if surrogate.penalty is not None:
        per_token = per_token + surrogate.penalty
    return (per_token * batch.mask).sum() / batch.mask.sum()


def as_token_batch(logits, token, mask, right, k, credit):
    """What the probe would log, in float64."""
    logp = logits.log_softmax(-1)
    p, ranked = logp.exp(), logp.topk(k, -1)
    logprob = logp.gather(-1, token[..., None])
    h = credit.entropy_weight
    slope = (p * (logp - (p * logp).sum(-1, keepdim=True))).square().sum(-1)
    return TokenBatch(
        step=1,
        response_id=np.arange(len(token)),
        verdict=np.where(right, 0, 1).astype(np.int8),
        mask=mask.numpy(),
        token_id=token.numpy(),
        logprob=logprob[..., 0].numpy(),
        rank=((logp > logprob).sum(-1) + 1).numpy(),
        entropy=-(p * logp).sum(-1).numpy(),
        collision=(p * p).sum(-1).numpy(),
        collision_logprob=(p * p * logp).sum(-1).numpy(),
        forking=np.zeros(mask.shape, bool),
        top_logprob=ranked.values.numpy(),
        top_id=ranked.indices.numpy(),
        credit=Credit(
            weight=credit.weight.numpy(),
            ratio=credit.ratio.numpy(),
            smoothing=credit.smoothing.numpy(),
            entropy_weight=None if h is None else h.numpy(),
            entropy_slope=None if h is None else slope.numpy(),
            smoothing_k=credit.smoothing_k,
            smoothing_weighting=credit.smoothing_weighting,
        ),
    )


class Collected:
    """A recorder that keeps what it is given."""

    def __init__(self):
        self.batches, self.shifts = [], []

    def put(self, batch):
        self.batches.append(batch())

    def put_shift(self, shift):
        self.shifts.append(shift())

    def put_responses(self, columns): ...
    def put_evals(self, columns): ...
    def end_step(self, step, capture_ms=None, device_ms=None): ...
    def flush(self): ...
    def close(self, status): ...


def trained(method, folder, recorder=None, **overrides):
    """Two rollout batches of a tiny model by a method, with the gradient of every loss at its logits."""
    settings = dict(METHODS[method].config) | overrides
    trainer = RankedGRPOTrainer(
        model=llama(),
        reward_funcs=first_is_even,
        args=config(folder / "trainer", learning_rate=0.05, **settings),
        train_dataset=prompts(),
        processing_class=tokenizer(),
        objective=objective(method),
    )
    seen = []
    compute_loss = trainer._compute_loss

    def remember(module, args, output):
        if torch.is_grad_enabled() and module.training and output.requires_grad:
            output.retain_grad()
            seen.append(SimpleNamespace(logits=output))

    def remember_share(model, inputs):
        loss = compute_loss(model, inputs)
        unit = torch.zeros(inputs["loss_mask"].shape if "loss_mask" in inputs else inputs["completion_mask"].shape)
        unit.requires_grad_(True)
        mask = inputs["completion_mask"].bool()
        share = torch.autograd.grad(trainer._normalised(unit, {**inputs, "loss_mask": mask}), unit)[0]
        seen[-1].share, seen[-1].mask = share, mask
        return loss

    trainer._compute_loss = remember_share
    trainer.model.get_output_embeddings().register_forward_hook(remember)
    info = {"method": method, "smoothing": {"k": 3}}
    with Probe.attach(trainer.model, folder / "run", k=4, recorder=recorder, info=info) as probe:
        trainer.attach(probe, rescore=2)
        trainer.train()
        assert probe.errors == 0
    return trainer, seen


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """Method → what its training gave to a recorder, and the gradients of its losses; it is trained once."""

    def train(method):
        recorder = Collected()
        return recorder, trained(method, tmp_path_factory.mktemp(method), recorder)[1]

    return functools.cache(train)


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Method → the run that its training logs; it is trained once."""

    def train(method):
        folder = tmp_path_factory.mktemp(method)
        trained(method, folder)
        return folder / "run"

    return functools.cache(train)


@pytest.mark.parametrize("method", list(METHODS) if THOROUGH else TRAINED)
def test_the_logged_push_of_a_training_run_is_that_of_its_own_loss(method, collected):
    recorder, seen = collected(method)
    assert len(seen) == len(recorder.batches) == 4
    moved = 0.0
    for step, batch in zip(seen, recorder.batches, strict=True):
        push = push_on_ranks(batch, 4)[batch.mask]
        mask = step.mask.numpy()
        assert batch.mask.shape == mask.shape
        share = step.share[step.mask].double()
        direction = -step.logits.grad.double() / share[:, None]
        expected = change_along(direction, step.logits.detach().double())
        expected = expected.gather(-1, torch.as_tensor(batch.top_id[mask]).long()).numpy()
        np.testing.assert_allclose(push, expected, rtol=2e-3, atol=2e-5)
        moved = max(moved, np.abs(push).max())
        expected = entropy_change_along(direction, step.logits.double()).numpy()
        np.testing.assert_allclose(entropy_push(batch)[batch.mask], expected, rtol=2e-3, atol=2e-5)
    assert moved > 0.01
    assert {(s.shift.shape[-1], s.mask.shape[0]) for s in recorder.shifts} == {(4, 16)} and len(recorder.shifts) == 2


def test_scoring_again_measures_what_the_step_did(collected):
    recorder, _ = collected("grpo")
    shift = recorder.shifts[0]
    before = recorder.batches[1].top_logprob  # of the second step, the one rescored
    assert shift.shift[shift.mask].any()
    assert np.all(before + shift.shift <= 1e-5)  # they are log-probabilities still
    assert np.all(np.diff(before + shift.shift, axis=-1)[shift.mask] <= 1e-5)  # and in order
    entropy = (recorder.batches[1].entropy + shift.entropy_shift)[shift.mask]
    assert shift.entropy_shift[shift.mask].any() and np.all((entropy >= -1e-5) & (entropy <= np.log(19) + 1e-5))


@pytest.mark.parametrize("method", TRAINED)
def test_view_and_token_view_and_rollups_agree(method, collected, logged):
    recorder, _ = collected(method)
    with simko.store.open(logged(method)) as connection:
        summed = connection.sql(
            "SELECT step, verdict, k, push, forking_push, shift FROM push ORDER BY step, verdict, k"
        ).df()
        rows = connection.sql(
            "SELECT response_id, step, position, push FROM token_push ORDER BY step, response_id, position"
        ).fetchall()
        keys = connection.sql("SELECT step, verdict, count(*), min(n_tokens) FROM rollups GROUP BY ALL").fetchall()
    expected, sums = [], {}
    for batch in recorder.batches:
        push = push_on_ranks(batch, 4)
        order = np.argsort(batch.response_id)
        expected += [push[i, t] for i in order for t in np.flatnonzero(batch.mask[i])]
        rollup = Rollup(4)
        rollup.add(batch)
        for row in rollup.rows(batch.step):
            for k in range(1, 5):
                sums[batch.step, row["verdict"], k] = row[f"sum_push_{k}"] / batch.mask.sum()
    np.testing.assert_allclose(np.array([row[-1] for row in rows]), np.array(expected), rtol=1e-4, atol=1e-6)
    for row in summed.itertuples():
        parts = [value for (step, verdict, k), value in sums.items() if (step, k) == (row.step, row.k)]
        wanted = sum(parts) if row.verdict == "all" else sums[row.step, row.verdict, row.k]
        assert row.push == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert np.isnan(row.shift) == (row.step % 2 == 1)
    assert all(rows == 1 and tokens > 0 for _, _, rows, tokens in keys)


@pytest.mark.parametrize("method", ["grpo", "simko", "psr", "nsr", "w_reinforce"])
def test_counterfactual_push_is_what_the_method_would_have_pushed(method, collected, logged):
    """On the rollouts of a GRPO run, against the method's own objective on the logged tokens."""
    recorder, _ = collected("grpo")
    options = "alpha := 0.3, lambda_top1 := 1.5" if method == "simko" else ""
    with simko.store.open(logged("grpo")) as connection:
        result = connection.sql(
            f"FROM push_under('{method}'{', ' if options else ''}{options}) ORDER BY step, verdict, k"
        ).df()
        rewards = dict(connection.sql("SELECT response_id, reward FROM responses").fetchall())
    for number, batch in enumerate(recorder.batches):
        rollouts = recorder.batches[number - number % 2 :][:2]  # two steps train on the same ones
        tokens = [(b.mask[b.verdict == 0].sum(), b.mask.sum()) for b in rollouts]
        share = np.divide(*np.sum(tokens, 0))
        pushed = push_on_ranks(counterfactual(method, batch, rewards, share), 4)
        for code, verdict in enumerate(("right", "wrong")):
            wanted = (pushed * batch.mask[..., None])[batch.verdict == code].sum((0, 1)) / batch.mask.sum()
            row = result[(result.step == batch.step) & (result.verdict == verdict)]
            if len(row):
                np.testing.assert_allclose(row.sort_values("k").push, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("method", "size"), some([(m, n) for m in ("psr", "nsr", "w_reinforce") for n in (4, 16)], 3))
def test_what_a_method_would_have_pushed_on_its_own_rollouts_is_what_it_pushed(method, size, tmp_path):
    """Whatever the micro-batches: 16 responses at once, or 4 at a time."""
    parts = 16 // size
    settings = {"gradient_accumulation_steps": parts, "steps_per_generation": 2 * parts}
    trained(method, tmp_path, per_device_train_batch_size=size, **settings)
    with simko.store.open(tmp_path / "run") as connection:
        pairs = connection.sql(
            f"SELECT p.push, u.push FROM push p JOIN push_under('{method}') u USING (run, step, verdict, k)"
        ).fetchall()
        weights = connection.sql(
            "SELECT verdict, min(abs(weight / ratio)), max(abs(weight / ratio)) FROM tokens JOIN responses "
            "USING (run, attempt, response_id) WHERE weight <> 0 GROUP BY generation, verdict"
        ).fetchall()
    assert len(pairs) > 16
    logged, under = np.array(pairs).T
    np.testing.assert_allclose(under, logged, rtol=1e-3, atol=1e-6)
    assert all(high == pytest.approx(low, rel=1e-4) for _, low, high in weights)


@pytest.mark.parametrize("method", ["psr", "nsr"])
def test_micro_batches_change_no_parameter(method, tmp_path):
    """One optimizer step of the same 16 responses, at once and in four parts."""
    results = []
    for size in (16, 4):
        settings = {"gradient_accumulation_steps": 16 // size, "steps_per_generation": 16 // size, "max_steps": 1}
        folder = tmp_path / str(size)
        trainer, _ = trained(method, folder, Collected(), per_device_train_batch_size=size, optim="sgd", **settings)
        results.append(dict(trainer.model.named_parameters()))
    start = dict(llama().named_parameters())
    assert any((start[name] - value).abs().max() > 1e-4 for name, value in results[0].items())
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-6)


def one_step(folder, *, argmax):
    """A step whose tokens all have rank 1; the sampled one is logged first (the argmax), or ties with the first."""
    batch = random_batch(1, np.random.default_rng(0))
    ids = batch.token_id[..., None] + (0 if argmax else 1) + 20 * np.arange(4)
    ones = np.ones(batch.mask.shape, np.float32)
    verdicts = np.array([0, 1, 1, 0, 1, 1], np.int8)
    responses = {
        "generation": [0] * 6,
        "step": [1] * 6,
        "response_id": batch.response_id.tolist(),
        "group_id": [0] * 6,
        "reward": (1.0 - verdicts).tolist(),
        "verdict": ["wrong" if code else "right" for code in verdicts],
        "n_tokens": batch.mask.sum(1).tolist(),
    }
    create_or_resume(folder, {}, resume=False)
    with Recorder(folder, k=4, attempt=1) as recorder:
        recorder.put(
            dataclasses.replace(
                batch,
                rank=np.ones_like(batch.rank),
                top_id=ids,
                forking=batch.mask,
                verdict=verdicts,
                credit=Credit(ones, ones, 0 * ones),
                responses=responses,
            )
        )
        recorder.end_step(1)


@pytest.mark.parametrize("argmax", [True, False])
def test_simko_would_punish_the_argmax_alone(argmax, tmp_path):
    """Of tokens that tie at rank 1, as they do in bfloat16, the released code takes the argmax."""
    one_step(tmp_path / "run", argmax=argmax)
    with simko.store.open(tmp_path) as connection:
        milder, harder = (
            connection.sql(
                f"SELECT push FROM push_under('simko', alpha := 0, lambda_top1 := {by}) ORDER BY verdict, k"
            ).fetchall()
            for by in (1.0, 1.5)
        )
    assert len(milder) == 12
    assert (milder != harder) == argmax


def counterfactual(method, batch, rewards, share):
    """The batch with the credit of another method, written out by hand; `share` of its rollouts' tokens are right."""
    groups = {}
    for response, reward in rewards.items():
        groups.setdefault(response // 4, []).append(reward)
    ids = batch.response_id
    advantage = np.array([rewards[i] - np.mean(groups[i // 4]) for i in ids])
    advantage /= np.array([np.std(groups[i // 4], ddof=1) for i in ids]) + 1e-4
    right = batch.verdict == 0
    kept = {"psr": share, "nsr": 1 - share}.get(method, 1.0)
    flat = {"psr": right / kept, "nsr": (right - 1.0) / kept, "w_reinforce": np.where(right, 0.1, -1.0)}
    flat = flat.get(method, advantage)
    credit = np.repeat(flat[:, None], batch.mask.shape[1], 1)
    smoothing = np.zeros(batch.mask.shape)
    if method == "simko":
        credit = credit * np.where((credit < 0) & batch.forking & (batch.rank == 1), 1.5, 1.0)
        smoothing = 0.3 * (batch.forking & right[:, None])
    ratio = batch.credit.ratio
    clipped = ((credit > 0) & (ratio > 1.2)) | ((credit < 0) & (ratio < 0.8))
    made = Credit(np.where(clipped, 0.0, credit * ratio), ratio, smoothing, smoothing_k=3)
    return dataclasses.replace(batch, credit=made)


def test_a_run_without_credit_has_no_push_and_says_so_with_null(tmp_path):
    create_or_resume(tmp_path / "plain", {}, resume=False)
    with Recorder(tmp_path / "plain", k=4, attempt=1) as recorder:
        recorder.put(random_batch(1, np.random.default_rng(0)))
        recorder.end_step(1)
    with simko.store.open(tmp_path) as connection:
        assert connection.execute("SELECT count(*) FROM push").fetchone() == (0,)
        assert connection.execute("SELECT count(*), count(push) FROM token_push").fetchone()[1] == 0
        assert connection.execute("SELECT count(*) FROM push_under('grpo')").fetchone() == (0,)


def test_smoothing_beyond_the_logged_ranks_gives_no_number(tmp_path):
    logits, token, _, mask, _, right = micro_batch(5)
    zero = torch.zeros(mask.shape, dtype=torch.float64)
    credit = SimpleNamespace(
        weight=zero + 1, ratio=zero + 1, smoothing=zero + 0.1, entropy_weight=None, smoothing_k=5,
        smoothing_weighting="uniform",
    )  # fmt: skip
    batch = as_token_batch(logits, token, mask, right, 4, credit)
    assert np.isnan(push_on_ranks(batch, 4)).all()
    rollup = Rollup(4)
    rollup.add(batch)
    assert all(np.isnan(row["sum_push_1"]) for row in rollup.rows(1))
