"""Trackers get the figures of the store under their documented names; real trackers, read back from their own files."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest
import simko.store
from commands import command
from datasets import Dataset
from samplers import rollouts
from simko.probes import NullProbe
from simko.probes.probe import Probe
from simko.trainers.engine import RankedGRPOTrainer
from simko.trainers.evaluation.during_training import HeldoutPassAtK
from simko.trainers.objectives import SimKO
from tiny import config, first_is_even, prompts

DOCS = Path(__file__).parents[3] / "docs" / "training.md"


def documented():
    """Patterns of the names in the docs' table."""
    names = re.findall(r"^\| `(simko/[^`]+)`", DOCS.read_text(), re.M)
    return [re.compile(re.sub(r"[KN]$", r"\\d+", name)) for name in names]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A run of SimKO with four micro-batches per step and a bfloat16 sampler, and what TensorBoard holds of it."""
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tiny import llama, tokenizer

    folder = tmp_path_factory.mktemp("tracked")
    args = config(
        folder / "out",
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        steps_per_generation=4,
        report_to="tensorboard",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        patch.setenv("TENSORBOARD_LOGGING_DIR", str(folder / "board"))
        trainer = RankedGRPOTrainer(
            llama(),
            first_is_even,
            args,
            prompts(),
            processing_class=tokenizer(),
            objective=SimKO(alpha=0.3, k=3),
            rollout_func=rollouts(llama().bfloat16()),
        )
        with Probe.attach(trainer.model, folder / "run", k=4) as probe:
            trainer.attach(probe)
            trainer.train()
    accumulator = EventAccumulator(str(folder / "board"))
    accumulator.Reload()
    board = {
        tag.removeprefix("train/"): {event.step: event.value for event in accumulator.Scalars(tag)}
        for tag in accumulator.Tags()["scalars"]
        if tag.startswith("train/simko/")
    }
    return folder / "run", board


def ask(run, sql):
    with simko.store.open(run) as connection:
        return connection.execute(sql).fetchall()


def test_lambda_and_the_gaps_are_those_of_the_store(tracked):
    run, board = tracked
    rows = ask(run, "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all'")
    assert len(rows) == 16
    values = {(step, k): value for step, k, value in rows}
    for (step, k), value in values.items():
        assert board[f"simko/lambda_{k}"][step] == pytest.approx(value, abs=1e-5)
    for k in (1, 2):
        for step in range(1, 5):
            gap = values[step, k] - values[step, k + 1]
            assert board[f"simko/gap_{k}_{k + 1}"][step] == pytest.approx(gap, abs=1e-5)


def test_means_over_tokens_are_those_of_the_micro_batches(tracked):
    """A micro-batch is four responses of a step, in the order of their rows."""
    run, board = tracked
    rows = ask(
        run,
        "SELECT step, avg(entropy), avg(gap), avg(signed), avg(kl), avg(outside) FROM ("
        " SELECT step, micro, avg(entropy) AS entropy, avg(abs(g)) AS gap, avg(g) AS signed,"
        "  avg(exp(-g) - 1 + g) AS kl, avg((abs(g) > ln(2))::INTEGER) AS outside FROM ("
        "   SELECT t.step, micro, entropy, sampler_logprob - (logprob - ln(ratio)) AS g FROM tokens t JOIN ("
        "    SELECT step, response_id, (row_number() OVER (PARTITION BY step ORDER BY first) - 1) // 4 AS micro FROM ("
        "     SELECT step, response_id, min(place) AS first FROM ("
        "      SELECT step, response_id, row_number() OVER () AS place FROM all_tokens) GROUP BY ALL)"
        "   ) USING (step, response_id)) GROUP BY step, micro) GROUP BY step ORDER BY step",
    )
    assert len(rows) == 4
    names = ("entropy", "mismatch_gap", "mismatch_kl_k1", "mismatch_kl_k3", "mismatch_outside")
    for step, *values in rows:
        assert [board[f"simko/{name}"][step] for name in names] == pytest.approx(values, rel=1e-3, abs=1e-6)
    assert all(1e-4 < value < 0.1 for value in board["simko/mismatch_gap"].values())
    assert all(0 < value < 1 for value in board["simko/forking_fraction"].values())


def test_every_name_is_documented(tracked):
    _, board = tracked
    assert len(board) == 4 + 2 + 2 + 4
    for name in board:
        assert any(pattern.fullmatch(name) for pattern in documented()), name


class Known:
    """A task of two problems whose judge knows every answer, and nothing to train on."""

    name = "known"
    enumerates_answers = False
    max_completion_length = 2
    train = validation = None
    heldout = Dataset.from_dict({"prompt": ["1 2", "4"], "prompt_id": ["a", "b"], "answer": ["right", "wrong"]})

    def judge(self, texts, answers):
        return list(answers)

    def close(self):
        pass


def test_pass_at_k_has_a_name_that_every_tracker_takes(tiny_llama, tiny_tokenizer, tmp_path):
    trainer = RankedGRPOTrainer(
        tiny_llama(), first_is_even, config(tmp_path), prompts(), processing_class=tiny_tokenizer
    )
    measure = HeldoutPassAtK(trainer, Known(), NullProbe(), print, split="heldout", samples=4, limit=None)
    measure(0)
    (logged,) = trainer.state.log_history
    figures = {name: value for name, value in logged.items() if "pass" in name}
    assert figures == {"simko/pass_at_1": 0.5, "simko/pass_at_2": 0.5, "simko/pass_at_4": 0.5}
    for name in figures:
        assert any(pattern.fullmatch(name) for pattern in documented())


@pytest.mark.slow
def test_trackio_holds_the_figures_of_a_run_of_the_command(tmp_path, monkeypatch):
    pytest.importorskip("trackio", reason="the package trackio is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    options = ["--max_steps", "2", "--per_device_train_batch_size", "32", "--steps_per_generation", "1"]
    options += ["--pass_at_k_steps", "2", "--pass_at_k_problems", "20", "--run_name", "first"]
    done = command("train", "--probe", "--report_to", "trackio", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (database,) = (tmp_path / "trackio").glob("*.db")
    rows = sqlite3.connect(database).execute("SELECT metrics FROM metrics WHERE run_name = 'first'").fetchall()
    logged = {}
    for (content,) in rows:
        metrics = json.loads(content)
        logged |= {(name, metrics.get("train/global_step")): value for name, value in metrics.items()}
    run = tmp_path / "runs" / "first"
    for step, k, value in ask(run, "SELECT step, k, lambda_k FROM lambda_k WHERE verdict = 'all' AND step = 2"):
        assert logged[f"train/simko/lambda_{k}", step] == pytest.approx(value, abs=1e-5)
    for step, k, value in ask(run, "SELECT step, k, pass_at_k FROM pass_at_k WHERE source = 'exact'"):
        assert logged[f"train/simko/pass_at_{k}", step] == pytest.approx(value, abs=1e-9)
