"""Choosing by score: means over seeds, ties, divergence; and that scores are the log's own."""

from __future__ import annotations

import math

import pytest
import simko.store
from simko.cli.train import main
from simko.store.errors import SimkoError
from simko.trainers.study.folders import checked_state
from simko.trainers.study.plan import Plan
from simko.trainers.study.selection import Score, best, choices, score
from simko.trainers.study.workers import Job, Watcher, run_jobs
from studies import study

CHOICE = """\
runs:
  - method: simko
    select: {simko_alpha: [0.05, 0.2]}
select: {seeds: [101], maximise: pass@1+pass@256}
"""


def scores(*values):
    return [Score("SimKO", {"simko_alpha": alpha}, seed, value) for alpha, seed, value in values]


def test_the_mean_over_seeds_decides():
    assert best(scores((0.1, 1, 0.5), (0.1, 2, 0.5), (0.2, 1, 0.9), (0.2, 2, 0.0))) == {"simko_alpha": 0.1}


def test_the_first_of_the_grid_wins_a_tie():
    assert best(scores((0.2, 1, 0.5), (0.1, 1, 0.5))) == {"simko_alpha": 0.2}


def test_a_diverged_run_never_wins():
    assert best(scores((0.1, 1, math.nan), (0.2, 1, 0.1))) == {"simko_alpha": 0.2}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A plan whose two selection runs are done."""
    plan = Plan(study(CHOICE), tmp_path_factory.mktemp("selection"))
    runs = plan.search("simko", {})
    jobs = [Job(run.name, main, run.arguments, plan.output / f"{run.name}.log") for run in runs]
    run_jobs(jobs, 2, Watcher())
    assert [checked_state(run) for run in runs] == ["done", "done"]
    return plan


def split_of(run_dir):
    """The problems that a run was measured on."""
    with simko.store.open(run_dir) as connection:
        return connection.execute("SELECT DISTINCT split FROM evals").fetchall()[0][0]


def test_a_score_is_the_sum_at_the_last_evaluation(plan):
    folder = plan.search("simko", {})[0].folder
    with simko.store.open(folder) as connection:
        rows = dict(
            connection.execute("SELECT k, pass_at_k FROM pass_at_k WHERE source = 'exact' AND step = 4").fetchall()
        )
    split = split_of(folder)
    assert score(folder, (1, 256), split) == pytest.approx(rows[1] + rows[256])
    assert score(folder, (1,), split) == rows[1]


def test_problems_of_another_split_are_never_chosen_by(plan):
    with pytest.raises(SimkoError, match="has no pass@1 on train problems to choose by"):
        score(plan.search("simko", {})[0].folder, (1,), "train")


def test_the_logs_choose_on_validation_problems(plan):
    runs = plan.search("simko", {})
    reached = [score(run.folder, (1, 256), "validation") for run in runs]
    chosen, available = choices(plan)
    assert chosen == {"simko": {"simko_alpha": runs[reached.index(max(reached))].options["simko_alpha"]}}
    assert [item.score for item in available] == reached
    assert plan.compared(chosen)[0].unchosen == ()


def test_nothing_is_chosen_from_a_grid_with_a_gap(plan):
    wider = CHOICE.replace("[0.05, 0.2]", "[0.05, 0.1, 0.2]")
    assert choices(Plan(study(wider), plan.output)) == ({}, [])
