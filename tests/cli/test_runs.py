"""`simko ls`, `show` and `diff` as people meet them, and the comparison they show."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from functools import partial

import manifests
import numpy as np
import pytest
import simko.store
from simko.cli.simko import main
from simko.store.analysis.run_comparison import differing, incomparable, pass_at_k_figures, step_figures
from simko.store.demo.small_run import write_demonstration_run
from simko.store.layout.manifest import read_manifest


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs") / "runs"
    for seed, method in enumerate(("grpo", "simko")):
        write_demonstration_run(folder, name=f"{method}-one", method=method, steps=12, responses=16, seed=seed)
    return folder


def command_output(capsys, *arguments):
    code = main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_ls_has_a_line_a_run_with_its_last_figures(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # nothing is cut short for it
    code, out, _ = command_output(capsys, "ls", runs)
    assert code == 0
    with simko.store.open(runs) as connection:
        rows = connection.execute("SELECT run, lambda_k FROM lambda_k WHERE verdict = 'all' AND k = 2 AND step = 12")
        for run, lambda_2 in rows.fetchall():
            line = next(line for line in out.splitlines() if line.startswith(run))
            assert line.split()[1:4] == ["finished", run.split("-")[0], "12"]
            assert f"{lambda_2:.3f}" in line.split()
    assert "all: task countdown, model demonstration" in out


@pytest.mark.slow
def test_more_runs_than_files_may_be_open_are_listed_and_share_their_vocabulary(tmp_path):
    """400 runs of six files each, in processes that may open 200."""
    first = write_demonstration_run(tmp_path / "runs", name="r000", steps=1, responses=4)
    for n in range(1, 400):
        shutil.copytree(first, first.with_name(f"r{n:03}"))

    def simko_in_little_room(*arguments):
        few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (200, 200))
        done = subprocess.run(
            [sys.executable, "-m", "simko.cli.simko", *arguments],
            cwd=tmp_path, preexec_fn=few, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    listed = [line.split()[:2] for line in simko_in_little_room("ls", "runs").splitlines()]
    assert [words for words in listed if words and words[0].startswith("r0")][:2] == [
        ["r000", "finished"], ["r001", "finished"]
    ]  # fmt: skip
    assert sum(words[1:] == ["finished"] for words in listed) == 400
    sql = "SELECT count(*) AS n, count(text) AS texts, count(DISTINCT run) AS runs FROM tokens"
    (row,) = json.loads(simko_in_little_room("query", sql, "--runs", "runs", "--format", "json"))
    with simko.store.open(tmp_path / "runs") as connection, simko.store.open(first) as alone:
        ((tokens,),) = alone.sql("SELECT count(*) FROM tokens").fetchall()
        assert row == {"n": 400 * tokens, "texts": 400 * tokens, "runs": 400}
        assert connection.sql("SELECT count(*) FROM texts").fetchall() == alone.sql("FROM texts").count("*").fetchall()


def test_ls_of_nothing(tmp_path, capsys):
    code, out, _ = command_output(capsys, "ls", tmp_path)
    assert (code, "simko-train --probe" in out) == (0, True)
    code, _, err = command_output(capsys, "ls", tmp_path / "none")
    assert code == 2 and "no folder" in err and err.count("\n") == 1


def test_show_tells_options_attempts_and_figures(runs, capsys):
    code, out, err = command_output(capsys, "show", runs / "simko-one")
    assert (code, err) == (0, "")
    assert out.startswith("simko-one: finished, 12 steps\n")
    for line in ("method", "learning_rate", "probe: forking", "attempt  status", "pass@256", "Λ(3)", "probe: "):
        assert line in out


@pytest.mark.parametrize(("lost", "words"), [(5, "finished, 5 batches lost"), (1, "finished, 1 batch lost")])
def test_a_run_that_lost_rows_does_not_read_as_finished(tmp_path, capsys, lost, words):
    write_demonstration_run(tmp_path, name="lossy", steps=2, responses=8)
    manifest = next((tmp_path / "lossy" / "manifest").glob("*.jsonl"))
    *entries, end = manifests.entries(manifest)
    manifests.write(manifest, [*entries, {"kind": "cost", "dropped": lost, "error": None}, end])
    _, out, _ = command_output(capsys, "ls", tmp_path)
    assert words in next(line for line in out.splitlines() if line.startswith("lossy"))
    _, out, _ = command_output(capsys, "show", tmp_path / "lossy")
    assert out.startswith(f"lossy: {words}, 2 steps\n")


def test_diff_tells_what_differs_and_by_how_much(runs, capsys):
    code, out, _ = command_output(capsys, "diff", runs / "grpo-one", runs / "simko-one")
    assert code == 0
    assert [line.split() for line in out.splitlines()[:2]] == [
        ["option", "grpo-one", "simko-one"],
        ["method", "grpo", "simko"],
    ]
    with simko.store.open(runs / "grpo-one") as first, simko.store.open(runs / "simko-one") as second:
        values = []
        for connection in (first, second):
            query = "SELECT prompt_id, success FROM evals WHERE step = 12 AND split = 'heldout' ORDER BY ALL"
            values.append(1 - (1 - connection.execute(query).df().success.to_numpy()) ** 64)
        figures = {figure.name: figure for figure in pass_at_k_figures(first, second)}
        np.testing.assert_allclose(figures["pass@64"].change, np.mean(values[1] - values[0]))
        assert figures["pass@64"].low < figures["pass@64"].change < figures["pass@64"].high
        assert pass_at_k_figures(first, second) == list(figures.values())  # the draws too are the same
        steps = {figure.name: figure for figure in step_figures(first, second, window=4)}
        query = "SELECT lambda_k FROM lambda_k WHERE verdict = 'all' AND k = 3 AND step > 8 ORDER BY step"
        changes = second.execute(query).df().lambda_k - first.execute(query).df().lambda_k
        np.testing.assert_allclose([steps["Λ(3)"].change, steps["Λ(3)"].low], [changes.mean(), changes.min()])
        assert f"{figures['pass@64'].change:+.3f}" in out
    assert "over 48 heldout problems, exact, step 12" in out and "other seeds" in out


def test_a_run_does_not_differ_from_itself(runs, capsys):
    code, out, _ = command_output(capsys, "diff", runs / "simko-one", runs / "simko-one")
    assert code == 0 and "every option is the same" in out and "different" not in out
    assert all(float(line.split()[-4]) == 0 for line in out.splitlines() if line.startswith("pass@") and "…" in line)


def test_diff_says_what_keeps_two_runs_from_comparing(runs, tmp_path, capsys):
    shutil.copytree(runs / "grpo-one", tmp_path / "cold")
    file = tmp_path / "cold" / "run.json"
    info = json.loads(file.read_text())
    info["probe"]["temperature"], info["model"] = 0.6, "other\x1b[2J[red]"
    file.write_text(json.dumps(info))
    _, out, _ = command_output(capsys, "diff", runs / "grpo-one", tmp_path / "cold")
    assert "different temperature: 1.0 against 0.6" in out
    assert "different model: demonstration against other\\x1b[2J[red]" in out and "\x1b" not in out
    for asked in (("show", tmp_path / "cold"), ("ls", tmp_path)):
        _, out, _ = command_output(capsys, *asked)
        assert "other\\x1b[2J[red]" in out and "\x1b" not in out


def test_runs_without_a_common_step_are_not_compared(runs, tmp_path, capsys):
    (tmp_path / "empty" / "manifest").mkdir(parents=True)
    (tmp_path / "empty" / "run.json").write_text('{"schema_version": 1, "probe": null, "hyperparameters": []}')
    code, out, _ = command_output(capsys, "diff", runs / "grpo-one", tmp_path / "empty")
    assert code == 0 and "no step in common" in out
    code, out, _ = command_output(capsys, "show", tmp_path / "empty")
    assert code == 0 and out.startswith("empty: empty, no steps")


@pytest.mark.parametrize(
    "arguments", [("show",), ("diff", "{runs}/grpo-one"), ("show", "{runs}"), ("show", "{runs}/none")]
)
def test_what_is_no_run_is_a_line(arguments, runs, capsys):
    code, _, err = command_output(capsys, *(argument.format(runs=runs) for argument in arguments))
    assert code == 2 and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("command", ["ls {0}", "show {0}/hurt", "diff {0}/hurt {0}/hurt"])
def test_a_damaged_page_is_named_and_the_rest_shown(command, runs, tmp_path, capsys):
    shutil.copytree(runs / "grpo-one", tmp_path / "hurt")
    part = next(part.path for part in read_manifest(tmp_path / "hurt").parts if part.table == "rollups")
    content = bytearray(part.read_bytes())
    content[50:400] = bytes(350)
    part.write_bytes(content)
    code, out, err = command_output(capsys, *command.format(tmp_path).split())
    assert code == 0 and part.name in err and "left out" in err and out


def test_differing_tells_an_option_once():
    first = {"run": "a", "hyperparameters": {"alpha": 0.1}, "config": {"alpha": 0.1, "seed": 1}, "method": "simko"}
    second = {"run": "b", "hyperparameters": {"alpha": 0.2}, "config": {"alpha": 0.2, "seed": 2}, "method": "grpo"}
    assert differing(first, second) == [
        ("method", "simko", "grpo"),
        ("config.seed", 1, 2),
        ("hyperparameters.alpha", 0.1, 0.2),
    ]
    assert incomparable({"probe": {"temperature": 1}}, {}) == ["temperature: 1 against None"]


def test_a_run_with_runs_in_its_sub_folders_is_shown_and_compared_alone(tmp_path, capsys):
    outer = write_demonstration_run(tmp_path, name="outer", steps=3, responses=8)
    assert main(["show", str(outer)]) == 0
    alone = capsys.readouterr().out
    inner = write_demonstration_run(outer, name="inner", method="grpo", steps=5, responses=16)
    assert main(["show", str(outer)]) == 0
    assert capsys.readouterr().out == alone
    assert main(["diff", str(outer), str(inner)]) == 0
    figures = [line.split() for line in capsys.readouterr().out.splitlines()]
    (lambda_1,) = [line for line in figures if line[:1] == ["Λ(1)"] and len(line) > 3]
    assert lambda_1[1] != lambda_1[2]
