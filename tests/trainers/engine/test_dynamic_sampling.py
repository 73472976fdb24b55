"""Groups without contrast give way to others, and the batch stays one that TRL can train on."""

from __future__ import annotations

import pytest
import simko.store
import torch
from simko.probes import Probe
from simko.store.errors import UsageError
from simko.trainers.engine.dynamic_sampling import Rollouts, check_groups, fill
from simko.trainers.engine.trainer import RankedGRPOTrainer
from tiny import config, first_is_even, llama, prompts, tokenizer


def rollouts(rewards, *, width, first=0):
    """Groups of two; the completion ids tell which batch and row they came from."""
    n = len(rewards)
    ids = (first + torch.arange(n))[:, None].repeat(1, width)
    output = {"prompt_ids": ids, "completion_ids": ids, "completion_mask": torch.ones_like(ids), "num_items": ids.sum()}
    return Rollouts([{"prompt": str(first + i)} for i in range(n)], output, torch.tensor(rewards))


def test_only_groups_without_contrast_are_replaced_and_rows_stay_together():
    batch = rollouts([1.0, 0.0, 0.0, 0.0, 1.0, 1.0], width=2)
    drawn = rollouts([0.0, 0.0, 1.0, 0.0, 1.0, 0.0], width=3, first=100)
    filled = fill(
        batch, lambda rows: drawn, [{"prompt": "p"}] * 5, group=2, rounds=2, seed=0, any_process=lambda here: here
    )
    assert filled.rewards.tolist() == [1, 0, 1, 0, 1, 0]
    assert [row["prompt"] for row in filled.inputs] == ["0", "1", "102", "103", "104", "105"]
    assert filled.output["completion_ids"].tolist() == [[0] * 2 + [0], [1, 1, 0], *([i] * 3 for i in range(102, 106))]
    assert filled.output["prompt_ids"][0].tolist() == [0, 0, 0] and filled.output["prompt_ids"][1].tolist() == [0, 1, 1]
    assert filled.output["completion_mask"].sum(1).tolist() == [2, 2, 3, 3, 3, 3]


def test_unjudged_responses_are_no_contrast_and_rounds_end():
    nan = float("nan")
    calls = []

    def generate(rows):
        calls.append(len(rows))
        return rollouts([1.0, 1.0, 0.0, nan], width=2, first=10)

    batch = rollouts([nan, 1.0, nan, nan], width=2)
    same = fill(batch, generate, [{"prompt": "p"}], group=2, rounds=3, seed=0, any_process=lambda here: here)
    assert calls == [4, 4]
    assert same.inputs == batch.inputs


def test_a_split_group_is_refused():
    check_groups(16, 4)
    with pytest.raises(UsageError, match="--num_generations 4"):
        check_groups(18, 4)


def test_a_run_trains_on_groups_that_differ_and_logs_those(tmp_path):
    """With four responses a group a third of them agree by chance; many rounds leave none."""
    shares = {}
    for rounds in (1, 30):
        folder = tmp_path / str(rounds)
        trainer = RankedGRPOTrainer(
            model=llama(),
            reward_funcs=first_is_even,
            args=config(folder / "trainer", loss_type="dapo"),
            train_dataset=prompts(),
            processing_class=tokenizer(),
            rounds=rounds,
        )
        with Probe.attach(trainer.model, folder / "run") as probe:
            trainer.attach(probe)
            trainer.train()
        with simko.store.open(folder / "run") as connection:
            groups = connection.sql(
                "SELECT group_id, count(*), count(DISTINCT reward), count(DISTINCT prompt_id), sum(advantage), "
                "sum(n_tokens) FROM responses GROUP BY group_id"
            ).fetchall()
            logged = connection.sql("SELECT count(*) FROM tokens").fetchall()[0][0]
        assert len(groups) == 16 and all(n == 4 and prompt == 1 for _, n, _, prompt, *_ in groups)
        assert all(abs(total) < 1e-4 for *_, total, _ in groups)
        assert logged == sum(n for *_, n in groups)
        shares[rounds] = sum(different == 2 for _, _, different, *_ in groups) / len(groups)
    assert shares[1] < 1 and shares[30] == 1
