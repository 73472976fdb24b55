"""`simko eval`: a run, a folder, a server; what is written and shown; gone on with; every user error in a line."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from openai_server import OpenAIServer
from simko.cli.simko import main
from simko.store import Catalog
from simko.store.demo.small_run import write_demonstration_run
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.models.loading import load_model

SMALL = ["--benchmarks", "countdown", "--limit", "6", "--samples", "4", "--per_unit", "8"]


def checkpoint(folder, change=None):
    """A whole checkpoint as the trainer leaves it; `change` makes its weights others."""
    shutil.copytree(COUNTDOWN_BASE, folder)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": int(folder.name.rpartition("-")[2])}))
    if change:
        path = folder / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-3] ^= change  # of a float's mantissa
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = write_demonstration_run(tmp_path_factory.mktemp("made"), name="first", steps=6, responses=8)
    checkpoint(run / "checkpoint-2", 1)
    checkpoint(run / "checkpoint-4", 2)
    shutil.copytree(run / "checkpoint-4", run / "checkpoint-6")
    (run / "checkpoint-6" / "model.safetensors").write_bytes(b"torn")
    return run


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "first")
    return tmp_path / "runs"


def ask(folder, sql):
    catalog = Catalog(folder)
    assert catalog.problems == []
    return catalog.connection.execute(sql).fetchall()


def test_every_whole_checkpoint_of_a_run(runs, capsys):
    assert main(["eval", "first", *SMALL]) == 0
    out, err = capsys.readouterr()
    assert "checkpoint-6 is not whole (model.safetensors is torn) and passed over" in err
    assert "first/checkpoint-2" in out and "first/checkpoint-4" in out and "exact" in out
    counted = "SELECT step, source, count(*) FROM evals WHERE benchmark = 'countdown' GROUP BY ALL ORDER BY ALL"
    assert ask(runs / "first", counted) == [
        (2, "exact", 6), (2, "sampled", 6), (4, "exact", 6), (4, "sampled", 6),
    ]  # fmt: skip
    assert ask(runs / "first", "SELECT count(*), count(completion), count(n_tokens) FROM samples") == [(48, 48, 48)]
    chosen = "benchmark = 'countdown' AND k = 4 AND source = 'sampled'"
    met = f"SELECT step, trained_step FROM concentration WHERE {chosen} ORDER BY 1"
    assert ask(runs / "first", met) == [(2, 3), (4, 5)]
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.parquet")}
    assert main(["eval", "first", *SMALL]) == 0  # all done: nothing is drawn or written again
    assert "48 of them drawn before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.parquet")} == before
    for command in (["show", "first"], ["ls"], ["doctor", "first"]):
        assert main(command) == 0, command
    shown = capsys.readouterr().out
    assert "countdown" in shown and "first/checkpoint-2" in shown


def test_a_policy_of_no_run_gets_a_run_of_its_own(runs, capsys):
    assert main(["eval", "countdown-base", str(COUNTDOWN_BASE), *SMALL]) == 0
    run = runs / "countdown-base"
    assert json.loads((run / "run.json").read_text())["kind"] == "evaluation"
    assert ask(run, "SELECT kind, status, attempts, last_step FROM runs") == [("evaluation", "finished", 0, None)]
    assert main(["show", "countdown-base"]) == 0
    out = capsys.readouterr().out
    assert "countdown-base  countdown  sampled" in out
    assert main(["ls"]) == 0
    assert "countdown-base" in capsys.readouterr().out
    drawn = "SELECT count(*), max(file_row_number) FROM read_parquet('{}/samples/*', file_row_number = true)"
    before = ask(run, drawn.format(run))
    assert main(["eval", "countdown-base", *SMALL]) == 0  # the same command goes on with it, here with nothing left
    assert ask(run, drawn.format(run)) == before


@pytest.mark.slow
def test_into_and_step_say_where_results_go(runs):
    assert main(["eval", "countdown-base", *SMALL, "--into", "first", "--step", "3"]) == 0
    assert ask(runs / "first", "SELECT DISTINCT step FROM samples") == [(3,)]


@pytest.mark.slow
def test_the_base_model_is_step_0(runs):
    info = json.loads((runs / "first" / "run.json").read_text())
    from simko.store.layout.run import _checksum

    info["model"] = "countdown-base"
    info["checksum"] = _checksum(info)
    (runs / "first" / "run.json").write_text(json.dumps(info))
    assert main(["eval", "first", "--base", *SMALL]) == 0
    assert ask(runs / "first", "SELECT DISTINCT step FROM samples ORDER BY 1") == [(0,), (2,), (4,)]


def test_a_server(runs, capsys):
    model, tokenizer = load_model()
    with OpenAIServer(model, tokenizer) as server:
        arguments = ["eval", "--server", server.url, "--tokenizer", str(COUNTDOWN_BASE), *SMALL]
        assert main(arguments) == 0
        drawn = len(server.requests)
        assert main(arguments) == 0
        assert len(server.requests) == drawn
        assert all("seed" in request for request in server.requests)
        assert main([*arguments, "--seed", "1", "--unseeded"]) == 0
        assert len(server.requests) > drawn and not any("seed" in request for request in server.requests[drawn:])
        assert main(["eval", "first/checkpoint-2", "--server", server.url, "--model", "other", *SMALL]) == 2
    assert "serves tiny, not other" in capsys.readouterr().err
    assert ask(runs / "tiny", "SELECT engine, complete FROM evaluations") == [("server", True)] * 2
    assert main(["eval", "--server", server.url, *SMALL]) == 2
    assert "no server answers at" in capsys.readouterr().err


MISTAKES = [
    (["nowhere/at/all", *SMALL], "no model at nowhere/at/all"),
    (["first/tokens", *SMALL], "has no config.json"),
    (["first", "--benchmarks", "countdwn"], "no benchmark countdwn; did you mean countdown?"),
    (["first", "--benchmarks", ","], "say what to measure: --benchmarks"),
    (SMALL, "say what to evaluate"),
    (["first", *SMALL, "--samples", "0"], "--samples 0: from 1 to 1024"),
    (["first", *SMALL, "--samples", "1025"], "--samples 1025: from 1 to 1024"),
    (["first", *SMALL, "--max_tokens", "0"], "--max_tokens 0: from 1"),
    (["first", *SMALL, "--temperature", "0"], "--temperature 0.0: above 0"),
    (["first", *SMALL, "--top_p", "1.5"], "--top_p 1.5: above 0, up to 1"),
    (["first", *SMALL, "--limit", "0"], "--limit 0"),
    (["first", *SMALL, "--concurrency", "0"], "--concurrency 0: above 0"),
    (["first", *SMALL, "--dataset", "x.jsonl"], "makes its own problems"),
    (["first", *SMALL, "--server", "http://127.0.0.1:9/v1", "--base"], "leave out --server"),
    (["--server", "http://127.0.0.1:9/v1", *SMALL], "no server answers at http://127.0.0.1:9/v1"),
    (["first", *SMALL, "--engine", "server"], "--engine server needs --server URL"),
    (["first", *SMALL, "--engine", "sglang"], "no --engine sglang; there are: transformers, server, vllm"),
    (["first", *SMALL, "--sample", "3"], "unknown option --sample; did you mean --samples?"),
    (["first", "countdown-base", *SMALL, "--into", "x", "--step", "2"], "would both be step 2 of"),
    (["first", *SMALL, "--engine", "vllm", "--vllm_python", "/no/python"], "/no/python"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[words for _, words in MISTAKES])
def test_a_mistake_is_one_line(runs, arguments, words, capsys):
    assert main(["eval", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1 and lines[0].startswith("simko eval: ") and words in lines[0]
    assert not list(runs.rglob("*evaluation*"))


def test_a_run_without_checkpoints_says_so(runs, capsys):
    for folder in (runs / "first").glob("checkpoint-*"):
        shutil.rmtree(folder)
    assert main(["eval", "first", *SMALL]) == 2
    assert "has no checkpoint-<step> to evaluate; train with --save_steps" in capsys.readouterr().err


@pytest.mark.slow
def test_unfinished_with_other_settings_is_not_gone_on_with(runs, capsys):
    arguments = ["eval", "first/checkpoint-2", *SMALL]
    assert main(arguments) == 0
    (path,) = (runs / "first" / "manifest").glob("evaluation-*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))
    assert main([*arguments, "--samples", "8"]) == 2
    assert "--samples 4, not 8" in capsys.readouterr().err
    assert main([*arguments, "--samples", "8", "--anew"]) == 0
    assert main(arguments) == 0
    assert ask(runs / "first", "SELECT samples, complete FROM evaluations ORDER BY 1") == [(4, True), (8, True)]


@pytest.mark.slow
def test_another_checkpoint_of_the_same_step_is_another_evaluation(runs):
    assert main(["eval", "first/checkpoint-2", *SMALL]) == 0
    shutil.rmtree(runs / "first" / "checkpoint-2")
    checkpoint(runs / "first" / "checkpoint-2", 64)
    assert main(["eval", "first/checkpoint-2", *SMALL]) == 0
    assert ask(runs / "first", "SELECT count(*), count(*) FILTER (newest) FROM evaluations") == [(2, 1)]


def test_a_checkpoint_that_has_diverged_is_named(runs, capsys):
    import torch
    from safetensors.torch import load_file, save_file

    path = runs / "first" / "checkpoint-2" / "model.safetensors"
    weights = load_file(path)
    save_file({name: torch.full_like(tensor, float("nan")) for name, tensor in weights.items()}, path, {"format": "pt"})
    assert main(["eval", "first/checkpoint-2", *SMALL]) == 2
    assert "NaN or infinite probabilities" in capsys.readouterr().err


def test_a_benchmark_of_free_answers_from_a_file(runs, capsys):
    """Judged by the grader of math, with the shares of what has no readable answer."""
    rows = [{"problem": f"{a} {b} {a + b}", "answer": str(a + b)} for a, b in ((1, 2), (3, 4), (5, 6))]
    Path("three.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--benchmarks", "math500", "--dataset", "three.jsonl", "--samples", "3", "--max_tokens", "8"]
    assert main(["eval", "countdown-base", *arguments]) == 0
    out = capsys.readouterr().out
    assert "math500" in out and "no answer" in out
    found = "SELECT count(*), sum(n + n_unjudged), max(temperature), max(top_p), max(samples_requested) FROM evals"
    assert ask(runs / "countdown-base", found) == [(3, 9, 0.6, 0.95, 3)]
    ((extracted, unextracted),) = ask(
        runs / "countdown-base",
        "SELECT (SELECT count(*) FROM samples WHERE NOT extracted), (SELECT sum(n_unextracted) FROM evals)",
    )
    assert extracted == unextracted


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(runs, monkeypatch, capsys):
    """A real signal in the middle of the work; the same command does the rest, and no more."""
    from simko.trainers.evaluation.engines.transformers import TransformersEngine

    generate, calls = TransformersEngine.generate, []

    def interrupted(self, *arguments, **options):
        calls.append(options["seed"])
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return generate(self, *arguments, **options)

    monkeypatch.setattr(TransformersEngine, "generate", interrupted)
    assert main(["eval", "first/checkpoint-2", *SMALL]) == 130
    assert "the same command goes on with the rest" in capsys.readouterr().err
    assert ask(runs / "first", "SELECT status, units_done, units FROM evaluations") == [("interrupted", 3, 4)]
    assert main(["show", "first"]) == 0
    assert "3 of 4 blocks, interrupted" in capsys.readouterr().out
    assert main(["eval", "first/checkpoint-2", *SMALL]) == 0
    assert calls[3:] == [calls[2]]
    assert ask(runs / "first", "SELECT count(DISTINCT (prompt_id, sample)), count(*) FROM samples") == [(24, 24)]
