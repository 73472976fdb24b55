"""What verl's micro-batches say, nested as from one trainer and dense as from the other."""

from __future__ import annotations

import pytest
import torch
from simko.store.errors import UsageError
from simko.trainers.engine.scored_batch import RIGHT, UNJUDGED, WRONG
from simko.trainers.verl import micro_batch as mb
from simko.trainers.verl.options import check_engine, scalar_temperature

PROMPTS, RESPONSES = ([1, 2], [3]), ([4, 5, 6], [7])


def nested(rows):
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


@pytest.fixture(params=["nested", "dense"])
def data(request):
    ids = nested([p + r for p, r in zip(PROMPTS, RESPONSES, strict=True)])
    if request.param == "nested":
        return {
            "input_ids": ids,
            "responses": nested(RESPONSES),
            "response_mask": nested([[1, 0, 1], [1]]),
            "rm_scores": nested([[0.0, 0.0, 1.0], [0.0]]),
            "advantages": nested([[0.5, 0.5, 0.5], [-1.0]]),
        }
    return {
        "input_ids": ids,
        "responses": torch.tensor([[4, 5, 6, 0], [7, 0, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0]]),
        "response_mask": torch.tensor([[1, 0, 1, 0], [1, 0, 0, 0]]),
        "token_level_scores": torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.0] * 4]),
        "advantages": torch.tensor([[0.5, 0.0, 0.5, 0.0], [-1.0, 0.0, 0.0, 0.0]]),
    }


def test_responses_are_found_in_both_layouts(data):
    packed, padded = mb.response_rows(data, packed=True), mb.response_rows(data, packed=False)
    assert packed.starts == (1, 5) and packed.lengths == (3, 1)
    assert padded.starts == (1, 5) and padded.lengths == (3, 1)
    assert packed.width == mb.loss_mask(data).size(1)
    assert mb.response_tokens(data, packed).tolist() == [4, 5, 6, 7]
    inputs = mb.prompts_and_responses(data, packed)
    assert inputs["input_ids"][:, :5].tolist() == [[1, 2, 4, 5, 6], [0, 3, 7, 0, 0]]
    assert inputs["input_ids"].size(1) == 2 + packed.width and not inputs["input_ids"][:, 5:].any()
    assert inputs["attention_mask"].sum().item() == 7


def test_rewards_verdicts_and_advantages(data):
    mask = mb.loss_mask(data)
    assert mb.rewards(data).tolist() == [1.0, 0.0]
    assert mb.verdicts(mb.rewards(data), 2, mask.device).tolist() == [RIGHT, WRONG]
    assert mb.response_advantages(data, mask).tolist() == [0.5, -1.0]
    values = torch.arange(1.0, 1 + mask.numel()).view(mask.shape)
    back = mb.dense(mb.like(values, data["advantages"]))
    assert back[0, :3].equal(values[0, :3]) and back[1, 0] == values[1, 0]


def test_what_nobody_judged_is_unjudged():
    assert mb.verdicts(torch.tensor([torch.nan, 2.0]), 2, torch.device("cpu")).tolist() == [UNJUDGED, RIGHT]
    assert mb.verdicts(None, 1, torch.device("cpu")).tolist() == [UNJUDGED]
    assert mb.rewards({"other": torch.zeros(1)}) is None


def test_advantages_that_differ_within_a_response_are_none():
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    advantages = torch.tensor([[1.0, 2.0], [1.0, 9.0], [3.0, 3.0]])
    result = mb.response_advantages({"advantages": advantages}, mask)
    assert result[0].isnan() and result[1:].tolist() == [1.0, 0.0]


def test_the_estimator_is_known_by_its_returns():
    mask = torch.ones(2, 2, dtype=torch.bool)
    data = {"rm_scores": torch.tensor([[0.0, 1.0], [0.0, 0.0]]), "returns": torch.tensor([[1.0, 1.0], [0.0, 0.0]])}
    mb.check_estimator(data, mask, "pkpo")
    data["returns"] = torch.tensor([[0.7, 0.7], [-0.7, -0.7]])
    with pytest.raises(UsageError, match="adv_estimator=simko"):
        mb.check_estimator(data, mask, "pkpo")


def test_a_run_has_one_temperature():
    assert scalar_temperature({"temperature": 0.7}) == 0.7
    assert scalar_temperature({"temperature": torch.tensor([0.5, 0.5])}) == 0.5
    with pytest.raises(UsageError, match="one temperature"):
        scalar_temperature({"temperature": torch.tensor([0.5, 1.0])})


class Config:
    def __init__(self, **settings):
        self.__dict__.update(settings)


@pytest.mark.parametrize(
    ("model", "engine", "message"),
    [
        (Config(use_fused_kernels=True), Config(), "use_fused_kernels=False"),
        (Config(), Config(use_fused_kernels=True), "use_fused_kernels=False"),
        (Config(), Config(ulysses_sequence_parallel_size=2), "ulysses_sequence_parallel_size=1"),
    ],
)
def test_what_hides_the_logits_is_refused(model, engine, message):
    check_engine(Config(use_fused_kernels=False), Config(ulysses_sequence_parallel_size=1))
    with pytest.raises(UsageError, match=message):
        check_engine(model, engine)
