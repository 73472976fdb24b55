"""What an attempt's figures mean: stated by each, kept on resuming, and shown where it changes."""

from __future__ import annotations

import json

import pytest
from simko.store.demo.small_run import write_demonstration_run
from simko.store.errors import MeaningChanged
from simko.store.layout.manifest import check_meaning, read_manifest
from simko.store.layout.meaning import changes, meaning_of
from simko.store.layout.run import read_run
from simko.store.reading.catalog import Catalog

SMALL = {"steps": 4, "responses": 8, "flush_seconds": 0.0}


def ask(folder, sql):
    return Catalog(folder).connection.execute(sql).fetchall()


def resumed(folder, meaning):
    """A run whose second attempt, from step 2 on, says that its figures mean `meaning`."""
    write_demonstration_run(folder, name="run", **SMALL)
    return write_demonstration_run(folder, name="run", resume=True, start_step=2, meaning=meaning, **SMALL)


def test_another_meaning_is_refused_by_name(tmp_path):
    run = write_demonstration_run(tmp_path, name="run", **SMALL)
    meaning = meaning_of(read_run(run))
    check_meaning(run, meaning)
    meaning["probe"] |= {"temperature": 0.5, "rows": {**meaning["probe"]["rows"], "precision": "bfloat16"}}
    with pytest.raises(MeaningChanged, match=r"temperature 1\.0 → 0\.5, precision of token rows float32 → bfloat16"):
        check_meaning(run, meaning)


def test_the_newest_attempt_that_logged_is_what_the_next_goes_on_from(tmp_path):
    run = write_demonstration_run(tmp_path, name="run", **SMALL)
    meaning = meaning_of(read_run(run))
    other = {**meaning, "probe": meaning["probe"] | {"temperature": 0.5}}
    write_demonstration_run(tmp_path, name="run", resume=True, start_step=2, meaning=other, **SMALL)
    check_meaning(run, other)
    with pytest.raises(MeaningChanged, match=r"0\.5 → 1\.0"):
        check_meaning(run, meaning)


def test_a_break_is_told_with_its_step_and_each_attempt_keeps_its_own(tmp_path):
    write_demonstration_run(tmp_path / "first", name="run", **SMALL)
    meaning = meaning_of(read_run(tmp_path / "first" / "run"))
    run = resumed(tmp_path / "both", {**meaning, "probe": meaning["probe"] | {"temperature": 0.5}})
    assert ask(run, "SELECT run, step, change FROM breaks") == [("run", 2, "temperature 1.0 → 0.5")]
    assert ask(run, "SELECT attempt, temperature FROM attempts ORDER BY attempt") == [(1, 1.0), (2, 0.5)]
    assert ask(run, "SELECT temperature FROM runs") == [(0.5,)]


def test_the_same_meaning_breaks_nothing(tmp_path):
    write_demonstration_run(tmp_path, name="run", **SMALL)
    write_demonstration_run(tmp_path, name="run", resume=True, start_step=2, **SMALL)
    assert ask(tmp_path, "SELECT * FROM breaks") == []


def test_what_only_one_side_states_is_no_change():
    assert changes({"probe": {"k": 5}}, {"probe": {"k": 5, "temperature": 0.5}, "smoothing": {"k": 3}}) == []
    assert changes({"probe": {"k": 5}}, {"probe": {"k": 8}}) == ["K 5 → 8"]


def test_an_attempt_counts_by_its_manifest_and_not_by_the_files_that_are_left(tmp_path):
    """Rows that a later attempt has replaced do not come back when the later ones are lost."""
    run = resumed(tmp_path, None)
    for part in read_manifest(run).parts:
        if part.attempt == 2 and part.table == "rollups":
            part.path.unlink()
    assert ask(run, "SELECT max(step) FROM rollups") == [(2,)]
    assert ask(run, "SELECT DISTINCT attempt FROM tokens WHERE step > 2") == [(2,)]
    assert len(Catalog(run).problems) == 2


def test_a_manifest_that_vanished_is_named_by_the_next_attempts(tmp_path):
    run = resumed(tmp_path, None)
    write_demonstration_run(tmp_path, name="run", resume=True, start_step=3, **SMALL)
    (run / "manifest" / "002-000.jsonl").unlink()
    problems = Catalog(run).problems
    assert any("002-000.jsonl: gone, with" in line for line in problems)
    assert any("named in no manifest" in line for line in problems)


def test_a_manifest_cut_short_is_named_once_another_attempt_has_seen_it(tmp_path):
    run = resumed(tmp_path, None)
    path = run / "manifest" / "001-000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]))
    assert any(f"cut short, 3 of its {len(lines)} lines missing" in line for line in Catalog(run).problems)


def test_a_run_without_its_run_json_is_named(tmp_path):
    run = write_demonstration_run(tmp_path, name="run", **SMALL)
    (run / "run.json").unlink()
    assert Catalog(tmp_path).problems == [
        f"{run}: has a manifest and no run.json, so it is left out; its Parquet files can still be read directly"
    ]


def test_a_run_json_that_was_changed_is_named_however_it_is_spelt(tmp_path):
    run = write_demonstration_run(tmp_path, name="run", **SMALL)
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(content, indent=7))
    assert Catalog(run).problems == []
    (run / "run.json").write_text(json.dumps({**content, "method": "grpo"}))
    (problem,) = Catalog(run).problems
    assert "changed since it was written" in problem


def test_another_sampler_is_another_meaning_and_one_that_was_not_stated_is_none():
    ours = {"sampler": {"engine": "transformers", "logprobs": "none", "top_p": 1.0}}
    vllm = {"sampler": {"engine": "vllm server", "logprobs": "raw", "top_p": 1.0}}
    assert changes(ours, vllm) == ["sampler transformers → vllm server", "sampler's log-probs none → raw"]
    assert changes({}, vllm) == []
