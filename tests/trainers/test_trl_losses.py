"""TRL's own losses and our objectives under them, at the logits, in float64: the real `GRPOTrainer._compute_loss`.

The model's hidden states are free numbers and its head is the identity, so that its logits are those of the vectors.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from scoring import loss_and_gradient
from simko.trainers.engine import RIGHT, WRONG, RankedGRPOTrainer
from simko.trainers.methods import METHODS, objective_of
from simko.trainers.parsing import parse
from tiny import config, first_is_even, llama, prompts, tokenizer
from transformers.modeling_outputs import BaseModelOutputWithPast

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "simko.json").read_text())
BATCH = VECTORS["batch"]
LOGITS = torch.tensor(BATCH["logits"], dtype=torch.float64)
TOKEN = torch.tensor(BATCH["y"])
MASK = torch.tensor(BATCH["mask"]).bool()
GAMMA = torch.tensor(BATCH["gamma"], dtype=torch.float64)
OLD = LOGITS.log_softmax(-1).gather(-1, TOKEN[..., None])[..., 0] - GAMMA.log()
RIGHT_ROWS = torch.tensor([True, False])
GRPO = torch.tensor(VECTORS["grpo_adv_n8"]["3"], dtype=torch.float64)
SINGLE = 5e-7
"""TRL's own fused head works in float32, whatever the model; ours does not."""
DR_GRPO = torch.tensor([0.625, -0.375], dtype=torch.float64)  # of 3 right in 8, not divided by their deviation


class FreeHidden(torch.nn.Module):
    """A backbone whose hidden states are a parameter, whatever it is asked."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden = torch.nn.Parameter(hidden)
        self.embed_tokens = torch.nn.Embedding(
            hidden.size(-1), hidden.size(-1)
        )  # by which a model is told to have a head

    def forward(self, *args, **kwargs):
        return BaseModelOutputWithPast(last_hidden_state=self.hidden)


def with_logits(logits):
    """A causal LM that answers these logits (B, T, V) for T completion tokens after one prompt token."""
    rows, _, vocabulary = logits.shape
    model = llama(vocab_size=vocabulary).double()
    after = torch.zeros(rows, 1, vocabulary, dtype=torch.float64)
    model.model = FreeHidden(torch.cat([logits, after], 1))
    model.lm_head = torch.nn.Linear(vocabulary, vocabulary, bias=False, dtype=torch.float64)
    torch.nn.init.eye_(model.lm_head.weight)
    return model


def loss_of(folder, advantages, objective=None, logits=LOGITS, token=TOKEN, mask=MASK, old=OLD, **settings):
    """(loss, gradient at the logits) of a micro-batch under our engine and TRL's loss."""
    model = with_logits(logits)
    rows, width = token.shape
    settings = {"max_completion_length": width, "per_device_train_batch_size": 8, "steps_per_generation": 1} | settings
    trainer = RankedGRPOTrainer(
        model=model,
        reward_funcs=first_is_even,
        args=config(folder, **settings),
        train_dataset=prompts(),
        processing_class=tokenizer(),
        objective=objective,
    )
    trainer.current_gradient_accumulation_steps = 1
    model.train()
    inputs = {
        "prompt_ids": torch.ones(rows, 1, dtype=torch.long),
        "prompt_mask": torch.ones(rows, 1, dtype=torch.long),
        "completion_ids": token,
        "completion_mask": mask.long(),
        "advantages": advantages,
        "old_per_token_logps": old,
        "num_items_in_batch": mask.sum(),
        "response_id": torch.arange(rows),
        "verdict": torch.where(RIGHT_ROWS[:rows], RIGHT, WRONG),
    }
    loss = trainer._compute_loss(model, inputs)
    gradient = torch.autograd.grad(loss, model.model.hidden)[0][:, :width]
    return SimpleNamespace(loss=float(loss), gradient=gradient)


def assert_equal(found, expected, close):
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=close)


def settings_of(method, **changed):
    return METHODS[method].config | changed


@pytest.mark.parametrize(
    ("vector", "advantages", "settings"),
    [
        ("batch_grpo_tokenmean", GRPO, {"loss_type": "dapo"}),
        ("batch_grpo_seqmean", GRPO, {"loss_type": "grpo"}),
        ("batch_dapo_cliphigher", GRPO, settings_of("dapo")),
        ("batch_drgrpo_Lmax4", DR_GRPO, settings_of("dr_grpo")),
        ("batch_gspo_3e-4_4e-4", GRPO, settings_of("gspo")),
        ("batch_gspo_0.2", GRPO, settings_of("gspo", epsilon=0.2, epsilon_high=0.2)),
        # TRL caps the ratio at epsilon_high itself, not at one more than it
        ("batch_cispo_hi0.2", GRPO, settings_of("cispo")),
        ("batch_cispo_hi0.05", GRPO, settings_of("cispo", epsilon_high=1.05)),
    ],
)
def test_a_method_that_is_trls_own_loss_has_the_vector_of_its_paper(tmp_path, vector, advantages, settings):
    found = loss_of(tmp_path, advantages, **settings)
    expected = VECTORS[vector]
    assert found.loss == pytest.approx(expected["loss"], abs=SINGLE)
    if "grad" in expected:
        torch.testing.assert_close(
            found.gradient, torch.tensor(expected["grad"], dtype=torch.float64), rtol=0, atol=SINGLE
        )
    if "grad_l2" in expected:
        assert float(found.gradient.norm()) == pytest.approx(expected["grad_l2"], abs=SINGLE)


def test_dual_sided_clip_of_a_single_token(tmp_path):
    """E2: γ = 1.25 lies inside 1 + 0.28."""
    vector = VECTORS["E2_pos_gamma1.25_cliphigher0.28"]
    logits = torch.tensor([[[2.0, 1.0, 0.5, 0.0, -1.0]]], dtype=torch.float64)
    one = {"logits": logits, "token": torch.tensor([[1]]), "mask": torch.ones(1, 1, dtype=torch.bool)}
    old = torch.tensor([[vector["old_logp"]]], dtype=torch.float64)
    found = loss_of(tmp_path, torch.ones(1, dtype=torch.float64), old=old, **one, **settings_of("dapo"))
    assert found.loss == pytest.approx(-1.25, abs=SINGLE)
    torch.testing.assert_close(
        found.gradient[0, 0], torch.tensor(vector["grad"], dtype=torch.float64), rtol=0, atol=SINGLE
    )


@pytest.mark.parametrize("vector", ["batch_simko_a0.01_K3_tau0.5_lam1.1", "batch_simko_a0.3_K3_tau0.5_lam1.5"])
def test_simko_through_the_engine_has_the_vector_of_the_released_code(tmp_path, vector):
    alpha, penalty = (0.01, 1.1) if "a0.01" in vector else (0.3, 1.5)
    run, _ = parse(
        ["--simko_alpha", str(alpha), "--simko_tau", "0.5", "--simko_lambda", str(penalty), "--run_name", "x"]
    )
    found = loss_of(tmp_path, GRPO, objective_of(run), loss_type="dapo")
    assert found.loss == pytest.approx(VECTORS[vector]["loss"], abs=2e-9)
    torch.testing.assert_close(
        found.gradient, torch.tensor(VECTORS[vector]["grad"], dtype=torch.float64), rtol=0, atol=2e-9
    )


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.objective is not None])
def test_every_objective_has_the_same_gradient_through_the_engine_as_worked_out_the_long_way(tmp_path, method):
    run, _ = parse(["--method", method, "--run_name", "x"])
    objective = objective_of(run)
    settings = {"loss_type": "dapo", "epsilon": 0.2} | METHODS[method].config
    clip = {"low": settings["epsilon"], "high": settings.get("epsilon_high", settings["epsilon"])}
    torch.manual_seed(0)
    found = loss_of(tmp_path, GRPO, objective, **settings)
    torch.manual_seed(0)
    loss, gradient = loss_and_gradient(objective, LOGITS, TOKEN, OLD, MASK, GRPO, RIGHT_ROWS, **clip)
    close = 1e-9 if objective.k else SINGLE
    assert found.loss == pytest.approx(float(loss), abs=close)
    torch.testing.assert_close(found.gradient, gradient, rtol=0, atol=close)
    torch.testing.assert_close(gradient.sum(-1), torch.zeros_like(gradient.sum(-1)), rtol=0, atol=1e-12)
    assert not gradient[~MASK].any()
