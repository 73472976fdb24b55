"""A log that is handed statistics: the rows of a probe that watches the same micro-batches, and never an error."""

from __future__ import annotations

import pytest
import simko.store
import tiny
import torch
from simko.probes import Probe, StatisticsLog
from simko.probes.recording.capture import capture
from simko.store.errors import RunExists
from simko.trainers.engine.scored_batch import RIGHT, WRONG

VERDICTS = torch.tensor([RIGHT, WRONG])


def batch(model):
    ids = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 11, 12]])
    labels = ids.clone()
    labels[:, :2] = -100
    return ids, labels, lambda: model(input_ids=ids, labels=labels)


def statistics(ids, labels, output):
    inputs = {"input_ids": ids, "attention_mask": None, "labels": labels, "virtual_tokens": 0}
    return capture(output, inputs, 5, 1.0).last(3)


def test_it_writes_what_a_probe_writes(tmp_path):
    model = tiny.llama().train()
    ids, labels, forward = batch(model)
    with Probe.attach(model, tmp_path / "watched", tokenizer=tiny.tokenizer()) as probe:
        with probe.batch(step=1, verdicts=VERDICTS, rewards=[1.0, 0.0]):
            output = forward()
        probe.end_step(1)
    log = StatisticsLog.open(tmp_path / "handed", model, tokenizer=tiny.tokenizer())
    log.log(
        statistics(ids, labels, output),
        step=1,
        temperature=1.0,
        response_ids=log.names(2),
        verdicts=VERDICTS,
        inputs={"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        about={"reward": [1.0, 0.0]},
    )
    log.end_step(1)
    log.close()
    assert log.errors == 0 and not log.active
    store = simko.store.open(tmp_path)
    for table in ("tokens", "responses", "lambda_k"):
        rows = {
            run: store.sql(f"SELECT * EXCLUDE (run) FROM {table} WHERE run = '{run}' ORDER BY ALL").fetchall()
            for run in ("watched", "handed")
        }
        assert rows["watched"] == rows["handed"] != [], table


def test_errors_end_the_log_and_not_the_training(tmp_path):
    model = tiny.llama().train()
    ids, labels, forward = batch(model)
    log = StatisticsLog.open(tmp_path / "run", model)
    stats = statistics(ids, labels, forward())
    with pytest.warns(RuntimeWarning, match="one temperature"):
        log.log(stats, step=1, temperature=0.5, response_ids=[0, 1])
    assert log.errors == 1 and not log.active
    log.log(stats, step=1, temperature=1.0, response_ids=[0, 1])
    log.guarded(lambda: 1 / 0)
    log.end_step(1)
    log.flush()
    log.close("failed")
    log.close()
    assert log.errors == 1
    assert simko.store.open(tmp_path / "run").sql("SELECT count(*) FROM tokens").fetchall() == [(0,)]


def test_opening_fails_loudly(tmp_path):
    StatisticsLog.open(tmp_path / "run", tiny.llama()).close()
    with pytest.raises(RunExists):
        StatisticsLog.open(tmp_path / "run", tiny.llama())
    StatisticsLog.open(tmp_path / "run", tiny.llama(), resume=True).close()
