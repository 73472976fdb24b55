"""A batch scored by several processes gives the figures of the same batch scored by one."""

from __future__ import annotations

import numpy as np
import pytest
import simko.store
import tiny
import torch
from simko.probes import LogitGradient, Probe
from simko.store.layout.run import create_or_resume
from simko.store.writing.recorder import Recorder

RESPONSES, LENGTH = 12, 9
VIEWS = {
    "lambda_k": "step, verdict, k",
    "push": "step, verdict, k",
    "pass_at_k": "step, source, k",
    "steps": "step",
}


def rollouts():
    """(ids, mask, verdicts, weight) of a step's responses, ragged; one of them has no counted token."""
    torch.manual_seed(5)
    ids = torch.randint(3, 19, (RESPONSES, LENGTH))
    lengths = torch.randint(1, LENGTH - 1, (RESPONSES, 1))
    lengths[4] = 0
    mask = torch.arange(LENGTH - 1) < lengths
    return ids, mask, torch.randint(0, 3, (RESPONSES,)), torch.randn(RESPONSES, LENGTH - 1)


def log(run, model, world_size):
    """Two steps over the same responses, each rank with its share of them."""
    create_or_resume(run, {"run": "run", "probe": {"k": 4}}, resume=False)
    ids, mask, verdicts, weight = rollouts()
    share = RESPONSES // world_size
    for rank in range(world_size):
        mine = slice(rank * share, (rank + 1) * share)
        recorder = Recorder(run, k=4, attempt=1, rank=rank, world_size=world_size)
        with Probe.attach(model, run, k=4, tau=0.5, recorder=recorder) as probe:
            names = ["right", "wrong", "unjudged"]
            probe.responses(
                {
                    "step": [1] * share,
                    "generation": [0] * share,
                    "response_id": list(range(RESPONSES))[mine],
                    "group_id": [r // 4 for r in range(RESPONSES)][mine],
                    "prompt_id": ["x"] * share,
                    "verdict": [names[v] for v in verdicts[mine]],
                }
            )
            for step in (1, 2):
                about = {"response_ids": torch.arange(RESPONSES)[mine], "verdicts": verdicts[mine], "mask": mask[mine]}
                with probe.batch(step=step, **about) as scope:
                    model(input_ids=ids[mine])
                    scope.credit(LogitGradient(weight=weight[mine] * step, ratio=torch.ones_like(weight[mine])))
                probe.end_step(step)
        assert probe.errors == 0


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    run = tmp_path_factory.mktemp("one") / "run"
    log(run, tiny.llama().train(), 1)
    return run


@pytest.mark.parametrize("world_size", [2, 3, 4, 12])
def test_ranks_together_say_what_one_process_says(one, world_size, tmp_path):
    log(tmp_path / "run", tiny.llama().train(), world_size)
    with simko.store.open(one) as alone, simko.store.open(tmp_path / "run") as together:
        for view, key in VIEWS.items():
            query = f"SELECT * EXCLUDE (run) FROM {view} ORDER BY {key}"
            expected, result = alone.sql(query).df(), together.sql(query).df()
            assert len(expected) >= 2
            for name in set(expected) - {"reported", "world_size"}:
                if expected[name].dtype.kind == "f":
                    np.testing.assert_allclose(result[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
                else:
                    assert list(map(str, result[name])) == list(map(str, expected[name])), (view, name)
        sums = "SELECT sum(COLUMNS('^n_'))::BIGINT FROM rollups"
        assert alone.sql(sums).fetchall() == together.sql(sums).fetchall()
        assert together.sql(
            "SELECT count(DISTINCT (response_id, position, step)) = count(*) FROM tokens"
        ).fetchall() == [(True,)]
