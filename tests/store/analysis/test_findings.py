"""Every rule on a run made to fire it and on one where nothing is wrong, and what cannot be judged is skipped."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import manifests
import numpy as np
import pytest
from findings_runs import Course, level, write
from simko.store.analysis.findings.outcomes import more_than_even
from simko.store.analysis.findings.registry import RULES, chosen_rules, judge, worst_first
from simko.store.analysis.findings.run_log import RunLog, binomial_lower
from simko.store.demo.small_run import write_demonstration_run
from simko.store.errors import UsageError
from simko.store.reading.catalog import Catalog
from simko.store.writing.findings_file import append_changes, last_states


def log_of(folder):
    catalog = Catalog(folder, nested=False)
    return RunLog(catalog, catalog.runs[0])


def states(folder):
    return {finding.rule.name: finding for finding in judge(log_of(folder))}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return states(write(tmp_path_factory.mktemp("runs") / "healthy", Course()))


def solved_less(problem, visit, share):
    return 2 if visit == 0 or problem % 2 else 0


COURSES = {
    "numbers": Course(ratio=12.0, nonfinite=(7, 9), unjudged=0.3, truncated=0.5, absent=(11, 12), status="diverged"),
    "concentrated": Course(
        top=(level(-0.3, -0.1), level(-3, -4), level(-4, -5.5)),
        entropy=level(0.5, 0.05),
        open_share=level(0.3, 0.0),
        success={0: np.full(40, 0.1), 40: np.where(np.arange(40) % 2, 0.4, 0.0)},
        right=solved_less,
    ),
    "hidden": Course(
        top=(level(-0.3, -0.28), level(-3, -4), level(-4)),
        right=lambda problem, visit, share: 4 if problem % 3 else 2,
        weight_on_mastered=True,
    ),
    "random": Course(gap=0.2, entropy=level(0.5, 2.0), wrong=level(-0.2, 0.1)),
    "settled": Course(open_share=level(0.3, 0.01), entropy=level(0.5, 0.6), right=lambda p, v, s: 4 if s > 0.5 else 2),
}
"""Runs in each of which several things go wrong."""
FIRING = {
    "rank-1-saturation": "concentrated",
    "hidden-concentration": "hidden",
    "entropy-collapse": "concentrated",
    "entropy-explosion": "random",
    "forks-vanishing": "settled",
    "wrong-concentrates": "random",
    "pass-at-k-falls": "concentrated",
    "pass-at-k-falls-in-rollouts": "concentrated",
    "problems-lost": "concentrated",
    "overtrained-problems": "hidden",
    "groups-without-contrast": "settled",
    "ratio-explosion": "numbers",
    "sampler-mismatch": "random",
    "nonfinite-tokens": "numbers",
    "unjudged-answers": "numbers",
    "truncated-answers": "numbers",
    "steps-missing": "numbers",
    "run-failed": "numbers",
}
"""Rule → a run that fires it. `writer-silent`, `batches-dropped` and `log-damaged` need a manifest or file changed."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Course → its run's log and what every rule says of it."""
    folder = tmp_path_factory.mktemp("runs")
    logs = {name: log_of(write(folder / name, course)) for name, course in COURSES.items()}
    return {name: (log, {finding.rule.name: finding for finding in judge(log)}) for name, log in logs.items()}


@pytest.mark.parametrize("name", list(RULES))
def test_a_healthy_run_fires_nothing(healthy, name):
    assert healthy[name].state == "ok", healthy[name]


@pytest.mark.parametrize("name", FIRING)
def test_a_run_made_for_it_fires_the_rule_and_its_sql_shows_it(made, name):
    log, found = made[FIRING[name]]
    finding = found[name]
    assert finding.state == "fired", finding
    assert finding.evidence and finding.rule.meaning.endswith(".") and finding.rule.source
    assert log.connection.execute(finding.rule.sql).fetchall()
    json.dumps(finding.as_dict(), allow_nan=False)
    assert '"' not in finding.rule.sql and "$" not in finding.rule.sql  # it is printed between double quotes


def test_every_rule_is_tested():
    assert set(RULES) - set(FIRING) == {"writer-silent", "batches-dropped", "log-damaged"}


def test_rules_fire_where_they_should_alone(made):
    """A run whose numbers are broken is not told that its policy concentrates, and the other way round."""
    fired = {name: {n for n, finding in found.items() if finding.state == "fired"} for name, (_, found) in made.items()}
    assert fired["random"] == {"entropy-explosion", "wrong-concentrates", "sampler-mismatch"}
    assert fired["hidden"] == {"hidden-concentration", "overtrained-problems"}
    assert fired["numbers"] == {name for name, run in FIRING.items() if run == "numbers"}


def test_evidence_names_where_it_applies(made):
    found = made["numbers"][1]
    assert [example["step"] for example in found["nonfinite-tokens"].judgement.examples] == [7, 9]
    assert found["nonfinite-tokens"].judgement.figures["n_nonfinite"] == 2
    assert {"step", "response_id", "position"} <= set(found["ratio-explosion"].judgement.examples[0])
    assert found["ratio-explosion"].judgement.figures["share"] == 1.0
    order = [finding.rule.severity for finding in worst_first(found.values())]
    assert order == sorted(order, key=["critical", "warning"].index) and len(set(order)) == 2
    lost = made["concentrated"][1]["problems-lost"].judgement
    assert lost.figures["lost"] == 13 and lost.figures["gained"] == 0 and lost.figures["p"] == 0.5**13
    assert lost.examples[0]["prompt_id"] in {f"problem-{i}" for i in range(4, 30, 2)}


def test_a_silent_writer_and_dropped_batches(tmp_path):
    folder = write(tmp_path / "run", Course(steps=2))
    manifest = next((folder / "manifest").glob("0*.jsonl"))
    *entries, end = manifests.entries(manifest)
    manifests.write(manifest, [*entries, {"kind": "cost", "dropped": 3, "error": None}, end])
    found = states(folder)
    assert found["batches-dropped"].state == "fired" and found["batches-dropped"].judgement.figures["dropped"] == 3
    manifests.write(manifest, entries)
    found = states(folder)
    assert found["writer-silent"].state == "fired" and found["run-failed"].state == "skipped"
    next((folder / "rollups").glob("*.parquet")).write_bytes(b"torn")
    assert states(folder)["log-damaged"].state == "fired"


def test_a_missing_rank_is_told(tmp_path):
    found = states(write(tmp_path / "run", Course(steps=3, world_size=2)))
    assert found["steps-missing"].state == "fired" and "1 of 2 ranks" in found["steps-missing"].evidence[0]
    assert found["rank-1-saturation"].state == "skipped" and "missing" in found["rank-1-saturation"].reason


def test_what_cannot_be_judged_is_skipped_with_a_reason(tmp_path):
    short = states(write(tmp_path / "short", Course(steps=5, success={})))
    assert "too short" in short["rank-1-saturation"].reason and "evaluated" in short["pass-at-k-falls"].reason
    bare = states(write(tmp_path / "bare", Course(k=1, gap=None, responses=False, success={0: [0.5]})))
    assert "ranked candidates" in bare["rank-1-saturation"].reason
    assert bare["sampler-mismatch"].reason == "the sampler's log-probs are not logged"
    assert "no responses" in bare["problems-lost"].reason and "one evaluation" in bare["pass-at-k-falls"].reason
    holes = states(write(tmp_path / "holes", Course(absent=range(10, 22))))
    assert "missing" in holes["entropy-collapse"].reason and holes["steps-missing"].state == "fired"
    for finding in (*short.values(), *bare.values(), *holes.values()):
        assert (finding.state == "skipped") == bool(finding.reason) == (finding.judgement is None)
        assert finding.state != "skipped" or "evidence" not in finding.as_dict()


def test_figures_before_a_break_of_meaning_do_not_count(tmp_path):
    falling = Course(entropy=level(2.0, 0.5), steps=20, success={})
    folder = write(tmp_path / "run", falling)
    assert states(folder)["entropy-collapse"].state == "fired"
    later = Course(first_step=21, steps=26, attempt=2, temperature=0.5, success={})
    assert "since step 20" in states(write(folder, later, resume=True))["entropy-collapse"].reason
    longer = replace(later, attempt=3, first_step=27, steps=60)
    found = states(write(folder, longer, resume=True))["entropy-collapse"]
    assert found.state == "ok" and found.judgement.steps == (21, 60)


def test_an_empty_run_and_a_demonstration(tmp_path):
    write(tmp_path / "empty", Course(steps=0, success={}))
    assert {f.state for f in states(tmp_path / "empty").values()} <= {"skipped", "ok"}
    folder = write_demonstration_run(tmp_path, name="grpo", method="grpo", steps=40, responses=32)
    found = states(folder)
    assert {name for name in found if found[name].state == "fired"} >= {"rank-1-saturation", "entropy-collapse"}
    assert found["sampler-mismatch"].state == "ok" and found["steps-missing"].state == "ok"


def test_an_unknown_rule_is_refused_with_the_nearest():
    assert [rule.name for rule in chosen_rules(["steps-missing"])] == ["steps-missing"]
    with pytest.raises(UsageError, match="did you mean entropy-collapse"):
        chosen_rules(["entropy-colapse"])


def test_exact_chances():
    assert more_than_even(8, 10) == pytest.approx(sum(math.comb(10, i) for i in (8, 9, 10)) / 1024)
    assert more_than_even(0, 0) == 1 and more_than_even(1500, 2000) < 1e-100
    assert binomial_lower(0, 0) == 0 and binomial_lower(50, 100) == pytest.approx(0.4038, abs=1e-4)


def test_states_are_appended_once_and_survive_a_torn_line(tmp_path):
    entries = [{"rule": "a", "state": "fired"}, {"rule": "b", "state": "ok"}]
    assert append_changes(tmp_path, entries) == 2 and append_changes(tmp_path, entries) == 0
    with (tmp_path / "findings.jsonl").open("a") as file:
        file.write('{"rule": "a", "sta')
    assert last_states(tmp_path) == {"a": "fired", "b": "ok"}
    assert append_changes(tmp_path, [{"rule": "a", "state": "ok"}]) == 1
    assert last_states(tmp_path) == {"a": "ok", "b": "ok"}
    assert len((tmp_path / "findings.jsonl").read_text().splitlines()) == 4


def test_the_docs_list_every_rule():
    page = (Path(__file__).parents[3] / "docs/findings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \| .+? \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.M)
    assert rows == [(r.name, r.severity, r.meaning, r.source, r.reads) for r in RULES.values()]


def test_pages_that_rules_name_are_there():
    texts = [text for rule in RULES.values() for text in (rule.source, rule.advice)]
    named = set(re.findall(r"docs/\w+\.md", " ".join(texts)))
    assert len(named) > 3 and all((Path(__file__).parents[3] / page).is_file() for page in named)
