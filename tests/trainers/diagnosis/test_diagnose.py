"""`simko diagnose` and `simko score` as they are typed: against itself, a sharpened copy, and every user error."""

from __future__ import annotations

import json
import shutil

import pytest
import tiny
from simko.cli.simko import main
from simko.store import Catalog
from simko.store.analysis.diagnosis import diagnosis_of
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.models.loading import load_model

SMALL = ["--task", "countdown", "--samples", "2", "--limit", "6", "--output", "pair"]


@pytest.fixture(scope="module")
def sharpened(tmp_path_factory):
    """The built-in policy with every logit doubled."""
    folder = tmp_path_factory.mktemp("models") / "sharpened"
    model, tokenizer = load_model()
    model.lm_head.weight.data *= 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sharpened_copy_is_more_concentrated(home, sharpened, capsys):
    assert main(["diagnose", "countdown-base", str(sharpened), *SMALL]) == 0
    out = capsys.readouterr().out
    assert f"{sharpened} is more concentrated than countdown-base on the same tokens" in out
    folder = home / "runs" / "pair"
    found = diagnosis_of(folder)
    assert found.warnings == []
    changes = {(row.whose, row.change.name): row.change for row in found.same_tokens}
    for whose in ("base", "tuned"):
        assert changes[whose, "Λ(1)"].low > 0 > changes[whose, "Λ(2)"].high
    assert changes["base", "Λ sampled"].mean < 0  # what it drew itself is less probable for any other model
    # The same tokens in both runs of a side, and every rank as it was: doubled logits keep their order
    same = """
    SELECT count(*), bool_and(b.token_id = t.token_id AND b.id_1 = t.id_1 AND b.rank = t.rank),
           (SELECT count(*) FROM tokens WHERE run = 'base')
    FROM tokens b JOIN tokens t USING (response_id, position) WHERE b.run = 'base' AND t.run = 'base-under-tuned'
    """
    with_all = Catalog(folder)
    count, alike, all_tokens = with_all.connection.execute(same).fetchone()
    assert with_all.problems == [] and alike and count == all_tokens > 50
    exact = [row for row in found.passes if row.source == "exact" and row.k == 1]
    assert exact[0].tuned > exact[0].base and exact[0].problems == 6
    page = (folder / "report.html").read_text()
    assert "Problems gained and lost" in page and "is more concentrated than" in page


@pytest.mark.slow
def test_it_goes_on_with_what_is_missing(home, sharpened, capsys):
    assert main(["diagnose", "countdown-base", str(sharpened), *SMALL]) == 0
    folder = home / "runs" / "pair"
    shutil.rmtree(folder / "tuned-under-base")
    assert main(["report", "pair"]) == 2
    assert "the diagnosis is not finished: tuned-under-base" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert main(["diagnose", "countdown-base", str(sharpened), *SMALL]) == 0  # what is missing, and nothing else
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert {path: after.get(path) for path in before} == before
    assert {path.relative_to(folder).parts[0] for path in after.keys() - before.keys()} == {"tuned-under-base"}
    (folder / "report.html").unlink()
    assert main(["report", "pair"]) == 0 and (folder / "report.html").is_file()
    capsys.readouterr()
    assert main(["diagnose", "countdown-base", str(sharpened), *SMALL, "--samples", "5"]) == 2
    assert "holds another diagnosis (draws" in capsys.readouterr().err
    # The evaluated responses of one side, given to `simko score`
    assert main(["score", "countdown-base", "--responses", "runs/pair/tuned", "--output", "again"]) == 0
    sums = "SELECT sum(logprob), count(*) FROM tokens WHERE run = $1"
    both = Catalog([folder / "tuned-under-base", home / "runs" / "again"]).connection
    expected, result = (both.execute(sums, [name]).fetchone() for name in ("tuned-under-base", "again"))
    assert result == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_model_against_itself_shows_no_difference(home, capsys):
    assert main(["diagnose", "countdown-base", str(COUNTDOWN_BASE), *SMALL]) == 0
    out, err = capsys.readouterr()
    assert "no difference beyond noise" in out and "note: both are the same weights" in err
    found = diagnosis_of(home / "runs" / "pair")
    assert {row.change.mean for row in found.same_tokens} == {0.0}
    exact = [row.change for row in found.passes if row.source == "exact"]
    assert exact and all(change.low <= 0 <= change.high for change in exact)
    assert all(problem.adjusted > 0.05 for problem in found.problems) and len(found.problems) == 6
    draws = (
        "SELECT run, string_agg(completion, '|' ORDER BY prompt_id, sample) AS all_of_them FROM samples GROUP BY run"
    )
    (_, first), (_, second) = Catalog(home / "runs" / "pair").connection.execute(draws).fetchall()
    assert first != second  # independent draws, or the tests of single problems would not hold


def other_vocabulary(folder):
    model, tokenizer = tiny.llama(), tiny.tokenizer()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_models_of_different_tokenizers_are_refused(home, capsys):
    other = other_vocabulary(home / "other")
    assert main(["diagnose", "countdown-base", str(other), *SMALL]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("simko "))
    assert line.startswith("simko diagnose: countdown-base and ")
    assert "have different vocabularies (57 and 19 tokens, " in line
    assert not (home / "runs" / "pair").exists()


@pytest.fixture
def answers(home):
    rows = [
        {"prompt": "2 3 4 24", "completion": "2 * 3 * 4", "verdict": "right"},
        {"prompt": "1 2 3 6", "completion": ""},
    ]
    (home / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (home / "long.jsonl").write_text(json.dumps({"prompt": "1 2 3 6", "completion": "1 + " * 40}))
    (home / "columns.jsonl").write_text('{"text": "1 2 3"}')
    return home


def test_a_file_is_scored_and_shown(answers, capsys):
    assert main(["score", "countdown-base", "--responses", "answers.jsonl", "--k", "2"]) == 0
    out = capsys.readouterr().out
    assert "1 empty response: without a token" in out and "Λ(2)" in out
    for command in (["show", "countdown-base-on-answers"], ["doctor", "countdown-base-on-answers", "--deep"]):
        assert main(command) == 0, command
    assert "scored" in capsys.readouterr().out
    assert main(["score", "countdown-base", "--responses", "answers.jsonl"]) == 2
    assert "already holds a run; give another --output" in capsys.readouterr().err


MISTAKES = [
    (["score", "countdown-base"], "say what to score: --responses FILE or RUN"),
    (["score", "--responses", "answers.jsonl"], "say what scores"),
    (["score", "nowhere/at/all", "--responses", "answers.jsonl"], "no model at nowhere/at/all"),
    (["score", "countdown-base", "--responses", "none.jsonl"], "no file none.jsonl"),
    (["score", "countdown-base", "--responses", "columns.jsonl"], "has the columns text; wanted are `prompt`"),
    (["score", "countdown-base", "--responses", "long.jsonl"], "and its prompt have 85 tokens, the model takes 64"),
    (["score", "countdown-base", "--responses", "answers.jsonl", "--k", "0"], "--k 0: from 1"),
    (["score", "countdown-base", "--responses", "answers.jsonl", "--k", "58"], "cannot rank 58 candidates"),
    (["score", "countdown-base", "--responses", "answers.jsonl", "--temperature", "0"], "--temperature 0: above 0"),
    (["score", "countdown-base", "--responses", "answers.jsonl", "--step", "1"], "choose responses of a run"),
    (["score", "countdown-base", "--responses", "other"], "no run named other"),
    (
        ["score", "countdown-base", "--responses", "answers.jsonl", "--server", "http://127.0.0.1:9/v1"],
        "no server answers",
    ),
    (["diagnose", "countdown-base", "countdown-base"], "say what to measure: --task"),
    (["diagnose", "countdown-base", "countdown-base", "--task", "countdwn"], "did you mean countdown?"),
    (["diagnose", "countdown-base", "nowhere/at/all", *SMALL], "no model at nowhere/at/all"),
    (["diagnose", "countdown-base", "countdown-base", *SMALL, "--k", "2"], "--k 2: 3 or more"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[words for _, words in MISTAKES])
def test_a_mistake_is_one_line(answers, arguments, words, capsys):
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("simko ")]
    assert len(lines) == 1 and words in lines[0]
    assert not (answers / "runs").exists()
