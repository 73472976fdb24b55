from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import manifests
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simko.store
from batches import random_batch
from effort import some
from evaluations import header, write_evaluation
from simko.dashboard.components import live_chart
from simko.dashboard.components.view import every_nth, plain, runs_folder
from simko.dashboard.pages.pass_at_k import intervals
from simko.store.analysis.estimators import bootstrap_interval, pass_at_k
from simko.store.demo.small_run import demonstration_steps, write_demonstration_run
from simko.store.layout.manifest import read_manifest
from simko.store.layout.run import create_or_resume
from simko.store.writing.recorder import Recorder
from simko.store.writing.row_sampling import LoggedRows
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
CHARTS = {
    "runs": 0, "lambda_k": 2, "pass_at_k": 2, "concentration": 1, "entropy": 2, "push": 2, "health": 1, "response": 1,
}  # fmt: skip
PAGES = tuple(CHARTS)


def _script(page: str) -> None:
    import importlib

    from simko.dashboard.components.view import mirror_of, runs_folder, sidebar

    mirror = mirror_of(str(runs_folder()))
    mirror.refresh()
    sidebar(mirror)
    importlib.import_module(f"simko.dashboard.pages.{page}").show()


@pytest.fixture
def show(monkeypatch):
    """Run a page on a folder."""

    def run(page: str, folder: Path) -> AppTest:
        monkeypatch.setenv("SIMKO_RUNS", str(folder))
        monkeypatch.setattr(sys, "argv", ["app.py"])
        return healthy(AppTest.from_function(_script, kwargs={"page": page}, default_timeout=60).run())

    return run


def healthy(app: AppTest) -> AppTest:
    assert not app.exception, app.exception[0].stack_trace
    return app


def figures(app: AppTest) -> list[dict]:
    """What the live charts on the page were given."""
    result = []
    for element in app.get("bidi_component"):
        data = json.loads(element.proto.json)
        if "figure" in data:
            result.append(json.loads(data["figure"]))
    return result


def captions(app: AppTest) -> str:
    return " ".join(caption.value for caption in app.caption)


def strip(app: AppTest) -> list[dict]:
    data = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return next(d["tokens"] for d in data if "tokens" in d)


@pytest.mark.parametrize("page", PAGES)
def test_page_on_two_runs(show, runs, page):
    app = show(page, runs)
    assert len(figures(app)) == CHARTS[page]
    assert not app.info and not app.warning
    for figure in figures(app):
        assert any(len(trace.get("x", [])) for trace in figure["data"])
    if page not in ("runs", "response"):
        names = {trace.get("name") for trace in figures(app)[0]["data"]}
        assert {"grpo-run", "simko-run"} <= names


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A folder without runs."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def young(tmp_path_factory):
    """A folder with a run before its first step: the evaluation before training is on disk, the step is not."""
    folder = tmp_path_factory.mktemp("young")
    steps = demonstration_steps(folder, name="young", steps=3, flush_seconds=1e6)
    next(steps)
    yield folder
    steps.close()


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    """A folder with a run of which a part is torn, and one of a schema that is not known yet."""
    folder = tmp_path_factory.mktemp("torn")
    write_demonstration_run(folder, name="newer", steps=2, responses=8)
    path = folder / "newer" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    write_demonstration_run(folder, name="torn", steps=6, responses=8, flush_seconds=0.0)
    part = next(p for p in read_manifest(folder / "torn").parts if p.table == "rollups")
    part.path.write_bytes(part.path.read_bytes()[:-40])
    return folder


@pytest.mark.parametrize("page", some(PAGES, 4))
def test_page_without_runs_says_what_to_do(show, empty, page):
    app = show(page, empty)
    assert "simko-train --probe" in app.info[0].value
    assert not figures(app)


@pytest.mark.parametrize("page", some(PAGES, 4))
def test_page_of_a_folder_that_is_not_there(show, empty, page):
    app = show(page, empty / "nowhere")
    assert app.info
    if page == "runs":
        assert "nowhere" in app.warning[0].value


@pytest.mark.parametrize("page", some(PAGES, 2))
def test_page_of_a_run_before_its_first_step(show, young, page):
    app = show(page, young)
    if page in ("runs", "health"):
        assert list(app.dataframe[0].value["run"]) == ["young"]
    elif page == "pass_at_k":
        assert figures(app)
    else:
        assert "by itself" in app.info[0].value


@pytest.mark.parametrize("page", some(PAGES, 2))
def test_page_beside_a_torn_part_and_a_newer_run(show, torn, page):
    app = show(page, torn)
    assert len(figures(app)) == CHARTS[page]
    if page in ("runs", "health"):
        warnings = " ".join(warning.value for warning in app.warning)
        assert "schema version 99" in warnings and "torn (" in warnings
        assert list(app.dataframe[0].value["run"]) == ["torn"]


def test_a_start_that_is_lost_is_not_called_the_first_step(show, torn):
    app = show("lambda_k", torn)
    assert "step 1 was written and cannot be read whole; step 2 is the earliest left" in captions(app)
    hovers = {trace["hovertemplate"] for trace in figures(app)[1]["data"]}
    assert any("earliest left, not the first (step 2)" in hover for hover in hovers)
    assert not any("first (step 1)" in hover or "<br>first (" in hover for hover in hovers)


@pytest.mark.slow
def test_a_whole_start_is_the_first_step(show, runs):
    app = show("lambda_k", runs)
    assert "earliest" not in captions(app)
    assert any("<br>first (step 1)" in trace["hovertemplate"] for trace in figures(app)[1]["data"])


@pytest.fixture
def stopped_writer(tmp_path):
    """A process that has written two steps of `run` and is stopped (SIGSTOP), four minutes ago as far as it shows."""
    writer = (
        "import sys, time; from simko.store.demo.small_run import demonstration_steps\n"
        f"steps = demonstration_steps({str(tmp_path)!r}, name='run', steps=9, responses=8, flush_seconds=0.0)\n"
        "print(next(steps), next(steps), next(steps), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", writer], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        while not any(part.table == "rollups" for part in read_manifest(tmp_path / "run").parts):
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        yield tmp_path
        process.kill()


@pytest.mark.parametrize("page", ["runs", pytest.param("health", marks=pytest.mark.slow)])
def test_a_writer_that_is_stopped_is_silent_and_one_that_hangs_is_told_by_its_age(show, stopped_writer, page):
    (sign,) = (stopped_writer / "run" / "manifest").glob(".alive-*")
    app = show(page, stopped_writer)
    assert not app.warning
    status = app.dataframe[0].value.iloc[0]["status"]
    assert status.startswith("running, written ") if page == "runs" else status == "running"

    ago = time.time() - 240
    for path in stopped_writer.glob("run/**/*.parquet"):
        os.utime(path, (ago, ago))
    (warning,) = healthy(app.run()).warning
    assert "has written nothing for 4 min" in warning.value

    os.utime(sign, (ago, ago))
    (warning,) = healthy(app.run()).warning
    assert "run is silent for 4 min" in warning.value and not app.success
    assert list(app.dataframe[0].value["status"]) == ["silent for 4 min"]


def test_runs_page_says_which_rank_has_not_reported_a_step(show, tmp_path):
    create_or_resume(tmp_path / "two", {"run": "two", "probe": {"k": 4}}, resume=False)
    rng = np.random.default_rng(0)
    for rank, steps in ((0, 17), (1, 16)):
        with Recorder(tmp_path / "two", k=4, attempt=1, rank=rank, world_size=2) as recorder:
            for step in range(1, steps + 1):
                recorder.put(random_batch(step, rng, first=6 * rank))
                recorder.end_step(step)
    app = show("runs", tmp_path)
    assert len(app.warning) == 1
    assert app.warning[0].value.startswith(plain("two: step 17: 1 of 2 ranks reported (not rank 1)"))
    drawn = figures(show("lambda_k", tmp_path))[0]
    assert {max(trace["x"]) for trace in drawn["data"] if trace.get("x")} == {16}


def write_steps(folder: Path, steps: int, *, rank: int = 0, world_size: int = 1, **options) -> Path:
    """A run of six responses a step and process, each step of which took the probe ten milliseconds."""
    create_or_resume(folder, {"run": folder.name, "probe": {"k": 4}}, resume=rank > 0)
    rng = np.random.default_rng(rank)
    with Recorder(folder, k=4, attempt=1, rank=rank, world_size=world_size, **options) as recorder:
        for step in range(1, steps + 1):
            recorder.put(random_batch(step, rng, first=6 * rank))
            recorder.end_step(step, capture_ms=10.0)
            recorder.flush()
    return folder


def test_health_shows_what_the_costs_say(show, tmp_path):
    for rank in (0, 1):
        write_steps(tmp_path / "two", 9, rank=rank, world_size=2)
    with simko.store.open(tmp_path) as connection:
        costs = connection.sql("SELECT * FROM costs").df()
        whole = connection.sql("SELECT * FROM run_costs").df().iloc[0]
    app = show("health", tmp_path)
    assert app.success and not app.warning
    (figure,) = figures(app)
    panels = {note["text"]: trace for note, trace in zip(figure["layout"]["annotations"], figure["data"], strict=True)}
    steps = costs.groupby("step")
    share = (costs.capture_ms + costs.queue_wait_ms).groupby(costs.step).sum() / steps.step_ms.sum()
    assert panels["probe's share of the step"]["y"][0] is None  # when the first step began is not known
    np.testing.assert_allclose(panels["probe's share of the step"]["y"][1:], share[1:])
    assert panels["step (ms)"]["y"][1:] == pytest.approx(list(steps.step_ms.mean()[1:]))
    written = steps.n_bytes.sum().cumsum()
    np.testing.assert_allclose(panels["written so far (MB)"]["y"], written / 1e6)
    assert panels["micro-batches dropped"]["y"] == [0] * 9
    row = app.dataframe[0].value.iloc[0]
    assert row["share"] == pytest.approx(100 * whole["share"]) and row["world_size"] == 2
    assert row["megabytes"] == pytest.approx(whole["n_bytes"] / 1e6)


def test_health_after_a_single_step(show, tmp_path):
    write_steps(tmp_path / "one", 1)
    (figure,) = figures(show("health", tmp_path))
    drawn = {trace["y"][0] is None for trace in figure["data"]}
    assert drawn == {True, False}  # how long the step took cannot be told, what was written can


def test_what_was_lost_is_said(show, tmp_path):
    run = write_steps(tmp_path / "lossy", 3)
    manifest = next((run / "manifest").glob("*.jsonl"))
    *entries, end = manifests.entries(manifest)
    manifests.write(manifest, [*entries, {"kind": "cost", "dropped": 5, "error": None}, end])
    app = show("health", tmp_path)
    assert [warning.value for warning in app.warning] == ["lossy: 5 micro-batches were scored but not logged."]
    assert not app.success
    assert list(show("runs", tmp_path).dataframe[0].value.status) == ["finished, 5 batches lost"]


def test_health_of_a_run_older_than_the_table_of_costs(show, tmp_path):
    run = write_steps(tmp_path / "old", 3)
    shutil.rmtree(run / "costs")
    manifests.as_before_checksums(run, version=2)
    manifest = next((run / "manifest").glob("*.jsonl"))
    lines = [line for line in manifest.read_text().splitlines(keepends=True) if '"costs"' not in line]
    manifest.write_text("".join(lines))
    with simko.store.open(run) as connection:
        assert connection.sql("SELECT * FROM costs").fetchall() == []
        share, size = connection.sql("SELECT share, n_bytes FROM run_costs").fetchall()[0]
    assert share is None and size > 0
    app = show("health", tmp_path)
    assert not figures(app) and not app.warning
    assert any("older than its recording" in text.value for text in app.markdown)


def test_runs_table_has_the_latest_figures(show, runs):
    from simko.store import Catalog

    table = show("runs", runs).dataframe[0].value.set_index("run")
    con = Catalog(runs).connection
    row = con.execute(
        "SELECT lambda_k FROM lambda_k WHERE run='simko-run' AND step=12 AND verdict='all' AND k=2"
    ).fetchone()
    assert table.loc["simko-run", "lambda_2"] == pytest.approx(row[0])
    row = con.execute("SELECT pass_at_k FROM pass_at_k WHERE run='grpo-run' AND step=12 AND source='exact' AND k=256")
    assert table.loc["grpo-run", "pass_most"] == pytest.approx(100 * row.fetchone()[0])
    assert table.loc["grpo-run", "status"] == "finished"


def test_the_sidebar_chooses_runs_and_verdict(show, runs):
    app = show("lambda_k", runs)
    before = figures(app)[0]["data"]
    app.sidebar.multiselect[0].set_value(["simko-run"]).run()
    assert {trace["name"] for trace in figures(healthy(app))[0]["data"]} == {"simko-run"}
    colour = {trace["name"]: trace["line"]["color"] for trace in before}
    assert figures(app)[0]["data"][0]["line"]["color"] == colour["simko-run"]
    app.sidebar.selectbox[0].set_value("wrong").run()
    wrong = figures(healthy(app))[0]["data"][0]["y"]
    assert wrong != next(t["y"] for t in before if t["name"] == "simko-run")
    app.sidebar.multiselect[0].set_value([]).run()
    assert "No run is selected" in healthy(app).info[0].value


@pytest.mark.parametrize(
    "page", [page if page in ("runs", "push") else pytest.param(page, marks=pytest.mark.slow) for page in PAGES]
)
def test_the_chosen_verdict_is_applied_or_said_not_to_be(show, runs, page):
    app = show(page, runs)
    before = figures(app)
    assert "wrong" not in captions(app)
    app.sidebar.selectbox[0].set_value("wrong").run()
    wrong = figures(healthy(app))
    if page == "response":
        assert set(app.dataframe[0].value["verdict"]) == {"wrong"}
    elif page in ("runs", "pass_at_k", "health"):
        assert wrong == before and "does not apply" in captions(app)
    else:
        assert wrong != before and "Of responses judged wrong alone" in captions(app)
        assert "wrong only" in json.dumps(wrong[0]["layout"])


@pytest.mark.parametrize("page", [pytest.param(page, marks=pytest.mark.slow) for page in PAGES])
def test_a_verdict_that_no_response_has_leaves_no_page_broken(show, tmp_path, page):
    write_demonstration_run(tmp_path, name="run", steps=2, responses=8)
    app = show(page, tmp_path)
    app.sidebar.selectbox[0].set_value("unjudged").run()
    healthy(app)
    if page not in ("runs", "pass_at_k", "health"):
        assert not figures(app) and "judged unjudged" in app.info[0].value


@pytest.mark.slow
def test_concentration_of_wrong_responses_is_theirs(show, runs):
    app = show("concentration", runs)
    app.sidebar.selectbox[0].set_value("wrong").run()
    (figure,) = figures(healthy(app))
    with simko.store.open(runs) as connection:
        expected = connection.execute(
            "SELECT l.lambda_k FROM concentration c JOIN lambda_k l ON l.run = c.run AND l.step = c.trained_step "
            "WHERE c.run = 'simko-run' AND c.split = 'heldout' AND c.source = 'exact' AND c.k = 1 AND l.k = 1 "
            "AND l.verdict = 'wrong' ORDER BY c.step"
        ).fetchall()
    drawn = next(trace for trace in figure["data"] if trace["name"] == "simko-run")
    x = np.frombuffer(base64.b64decode(drawn["x"]["bdata"]), drawn["x"]["dtype"])
    np.testing.assert_allclose(x, [value for (value,) in expected])


def test_a_new_run_is_selected_when_it_appears(show, tmp_path):
    write_demonstration_run(tmp_path, name="a", steps=2, responses=8)
    app = show("lambda_k", tmp_path)
    write_demonstration_run(tmp_path, name="b", steps=2, responses=8)
    healthy(app.run())
    assert {trace["name"] for trace in figures(app)[0]["data"]} == {"a", "b"}
    app.sidebar.multiselect[0].set_value(["b"]).run()
    healthy(app.run())
    assert {trace["name"] for trace in figures(app)[0]["data"]} == {"b"}


def test_pass_page_names_sources_apart(show, runs):
    app = show("pass_at_k", runs)
    choices = app.get("button_group")[0]
    assert [option.content for option in choices.proto.options] == [
        "heldout · exact (enumerated)",
        "train · training rollouts",
    ]


def test_a_benchmark_is_shown_where_it_is_chosen(show, runs, tmp_path):
    folder = shutil.copytree(runs, tmp_path / "runs")
    own = figures(show("pass_at_k", folder))
    run = next(path.parent for path in sorted(folder.glob("*/run.json")))
    write_evaluation(run)
    write_evaluation(run, "ba9876543210", settings=header()["settings"] | {"temperature": 1.0})
    app = show("pass_at_k", folder)
    assert figures(app) == own
    choices = app.get("button_group")[0]
    names = [option.content for option in choices.proto.options]
    assert names[-1] == "aime24 · sampled responses"
    choices.set_value(names[-1]).run()
    curves = figures(healthy(app))[0]["data"]
    assert {k for trace in curves for k in trace["x"]} == {1, 2}  # n = 3 tells no more
    assert max(len(trace["x"]) for trace in curves) <= 4  # of the two evaluations, the newest: a line, or its band
    mirrored = show("concentration", folder)
    mirrored.get("button_group")[0].set_value(names[-1]).run()
    healthy(mirrored)


def test_few_checkpoints_are_called_few(show, tmp_path):
    write_demonstration_run(tmp_path, name="short", steps=3, responses=8, evaluate_every=1)
    app = show("concentration", tmp_path)
    assert "4 checkpoints are too few" in " ".join(m.value for m in app.markdown)
    assert "with the step taken out" in " ".join(app.dataframe[0].value.columns)


def test_untrusted_text_is_never_markup(show, tmp_path):
    run = write_demonstration_run(tmp_path, name="run", steps=1, responses=8)
    vocabulary = pq.read_table(run / "vocabulary.parquet").to_pydict()
    evil = ["<img src=x onerror=alert(1)>"] * len(vocabulary["text"])
    table = pa.table({"token_id": pa.array(vocabulary["token_id"], pa.int32()), "text": evil})
    pq.write_table(table, run / "vocabulary.parquet")
    manifests.as_before_checksums(run)
    app = show("response", tmp_path)
    assert strip(app)[0]["text"] == evil[0]  # as data for textContent
    assert not any("<img" in m.value for m in app.markdown)
    assert "<img" not in json.dumps(figures(app))


@pytest.mark.slow
def test_long_tokens_and_prompts_are_cut_and_can_be_read_in_full(show, tmp_path):
    run = write_demonstration_run(tmp_path, name="run", steps=1, responses=8)
    vocabulary = pq.read_table(run / "vocabulary.parquet").to_pydict()
    long = "y" * 10_000
    texts = [long] * len(vocabulary["text"])
    table = pa.table({"token_id": pa.array(vocabulary["token_id"], pa.int32()), "text": texts})
    pq.write_table(table, run / "vocabulary.parquet")
    (path,) = (run / "responses").glob("*.parquet")
    responses = pq.read_table(path)
    prompts = pa.array(["z" * 10_000] * len(responses), responses.schema.field("prompt").type)
    pq.write_table(responses.set_column(responses.schema.get_field_index("prompt"), "prompt", prompts), path)
    manifests.as_before_checksums(run)
    manifest = next((run / "manifest").glob("*.jsonl"))
    entries = manifests.entries(manifest)
    for entry in entries:
        if entry.get("table") == "responses":
            entry["bytes"] = path.stat().st_size
    manifests.write(manifest, entries)
    app = show("response", tmp_path)
    assert max(len(token["text"]) for token in strip(app)) <= 200
    whole = [text.value for expander in app.expander for text in expander.text]
    assert "z" * 10_000 in whole and f"rank 1: {long}" in whole
    assert all(len(text.value) < 1000 for text in app.text if text.value not in whole)


@pytest.mark.slow
def test_a_page_promises_only_what_will_come(show, young, tmp_path):
    write_demonstration_run(tmp_path, name="done", steps=2, responses=8)
    app = show("lambda_k", tmp_path)
    app.sidebar.selectbox[0].set_value("unjudged").run()
    (info,) = healthy(app).info
    assert "judged unjudged" in info.value and "nothing will follow" in info.value
    app = show("lambda_k", young)
    assert "by itself" in app.info[0].value
    app.sidebar.toggle[0].set_value(False).run()
    (info,) = healthy(app).info
    assert "by itself" not in info.value and "turn Live on" in info.value


@pytest.mark.slow
def test_missing_values_are_a_dash(show, young):
    app = show("runs", young)
    assert app.dataframe[0].proto.placeholder == "–"
    assert app.dataframe[0].value["lambda_1"].isna().all()


def test_the_strip_is_the_response(show, runs):
    app = show("response", runs)
    texts = [token["text"] for token in strip(app)]
    listed = app.dataframe[0].value.iloc[0]
    assert " ".join(texts[:-1]) == listed["completion"] or texts[-1] != "<end>"
    assert any(token["forking"] for token in strip(app))
    (bars,) = figures(app)
    assert sum("sampled" in note for note in bars["data"][0]["text"]) == 1


@pytest.mark.parametrize("beside", [None, 8])
def test_a_response_of_a_run_with_few_ranks(show, tmp_path, beside):
    if beside:
        write_demonstration_run(tmp_path, name="wide", steps=2, responses=8, k=beside)
    write_demonstration_run(tmp_path, name="narrow", steps=2, responses=8, k=1)
    app = show("response", tmp_path)
    assert app.selectbox(key="response_run").value == "narrow"
    (bars,) = figures(app)
    labels = bars["data"][0]["y"]
    assert labels[0].startswith("rank 1 ") and len(labels) <= 2  # and the sampled token, where it was another one


def test_a_sampled_run_begins_with_a_response_that_can_be_read(show, tmp_path):
    newest = np.arange(32, 48)  # ids of the third step
    seeds = (LoggedRows(responses=0.25, seed=seed) for seed in range(99))
    rows = next(rows for rows in seeds if rows.of(newest).any() and not rows.of(newest)[0])
    write_demonstration_run(tmp_path, name="some", steps=3, responses=16, rows=rows)
    app = show("response", tmp_path)
    assert any("token rows of 1 in 4 responses" in caption.value for caption in app.caption)
    listed = app.dataframe[0].value
    assert list(listed["logged"]) == list(rows.of(listed["response_id"].to_numpy()))
    assert 0 < listed["logged"].sum() < len(listed) and not listed["logged"].iloc[0]
    assert strip(app)
    health = show("health", tmp_path)
    assert health.dataframe[0].value["kept"][0] == "1 in 4 responses"


def test_a_step_without_token_rows_shows_its_texts(show, tmp_path):
    write_demonstration_run(tmp_path, name="some", steps=3, responses=8, rows=LoggedRows(every=2))
    app = show("response", tmp_path)  # the newest step, 3
    assert not app.dataframe[0].value["logged"].any()
    assert "No token rows were logged" in app.info[0].value
    app.selectbox(key="response_step-some").set_value(2).run()
    assert healthy(app).dataframe[0].value["logged"].all() and strip(app)


def test_any_k_can_be_followed_over_steps(show, runs):
    app = show("pass_at_k", runs)
    titles = [note["text"] for note in figures(app)[1]["layout"]["annotations"]]
    assert titles == ["pass@1", "pass@16", "pass@256"]
    app.get("button_group")[1].set_value([2, 64]).run()
    titles = [note["text"] for note in figures(healthy(app))[1]["layout"]["annotations"]]
    assert titles == ["pass@2", "pass@64"]


def test_intervals_at_every_k_are_those_of_each_k():
    rng = np.random.default_rng(0)
    n = np.array([8] * 20 + [6] * 10)  # some responses could not be judged
    problems = pd.DataFrame({"n": n, "c": rng.binomial(n, 0.4), "success": np.nan})
    low, high = intervals(problems, (1, 4, 8))
    for place, k in enumerate((1, 4, 8)):
        values = pass_at_k(problems["n"], problems["c"], k)
        assert (low[place], high[place]) == pytest.approx(bootstrap_interval(values[~np.isnan(values)]))


def test_texts_of_problems_are_not_markdown():
    assert plain("a_b_/part*.parquet: [x](y) $z$") == r"a\_b\_/part\*.parquet\: \[x\](y) \$z\$"


@pytest.mark.parametrize("last", [1, 400, 401, 9_999])
def test_long_runs_are_thinned_to_what_a_chart_can_show(last):
    n = every_nth(1, last, 400)
    assert last // n <= 400
    assert n == 1 or last // (n - 1) > 400


def test_charts_are_drawn_where_nothing_can_be_written(show, runs, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(live_chart, "_static", tmp_path / "file" / "static")
    app = show("lambda_k", runs)
    assert len(app.get("plotly_chart")) == 2 and not figures(app)
    assert "cannot write" in app.caption[0].value


def test_without_the_package_the_app_says_what_to_do(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "simko"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "simko", None)
    app = healthy(AppTest.from_file(str(APP)).run())
    assert "pip install" in app.error[0].value


def test_folder_comes_from_the_option_then_the_environment_then_runs(monkeypatch):
    monkeypatch.setenv("SIMKO_RUNS", "from-environment")
    assert runs_folder(["--runs", "given"]) == Path("given")
    assert runs_folder(["--runs=given"]) == Path("given")
    assert runs_folder([]) == Path("from-environment")
    monkeypatch.delenv("SIMKO_RUNS")
    assert runs_folder([]) == Path("runs")


def test_the_whole_app_starts_by_path_without_torch(runs):
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
sys.argv = ["app.py", "--runs", {str(runs)!r}]
app = AppTest.from_file({str(APP)!r}, default_timeout=60).run()
assert not app.exception, app.exception[0].stack_trace
assert app.header[0].value == "Runs"
assert len(app.dataframe[0].value) == 2
for name in {PAGES[1:]!r}:
    assert f"simko.dashboard.pages.{{name}}" in sys.modules
print(sorted({{"torch", "transformers", "trl", "accelerate"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
