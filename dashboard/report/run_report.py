"""One run, or a folder of runs, as a report: the dashboard's pictures as they stand now."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from ...store.reading.catalog import Catalog
from ...store.reading.incomplete_steps import incomplete_steps
from ...store.reading.lost_starts import lost_start_in_words, lost_starts
from ..components import charts, panels
from . import study_charts
from .document import Block, Report, ReportFailed
from .queries import Averages

_RUNS = "SELECT run, method, model, task, status, last_step, n_tokens, created FROM runs ORDER BY created, run"
_CONCENTRATION = """
SELECT run, step, lambda_1 AS x, pass_at_k AS y, k FROM concentration
WHERE split = 'heldout' AND k = (SELECT max(k) FROM concentration WHERE split = 'heldout' AND k <= 256)
ORDER BY run, step
"""


def run_report(folder: Path) -> Report:
    """The report of a run or of the runs in a folder.

    Raises:
        RunNotFound: no such folder.
        ReportFailed: it holds no run that has logged anything.
    """
    catalog = Catalog(folder)
    catalog.leave_out_damaged_sums()
    connection = catalog.connection
    runs = connection.execute(_RUNS).df()
    runs = runs[runs["n_tokens"] > 0]
    if runs.empty:
        raise ReportFailed(f"no run in {folder} has logged anything yet; `simko-train --probe` makes one")
    names = list(runs["run"])
    looks = {run: panels.look(place) for place, run in enumerate(names)}
    averages = Averages(connection, pd.DataFrame({"run": names, "name": names}))
    breaks = connection.execute("SELECT run, step, change FROM breaks ORDER BY run, step").df()
    breaks = breaks[breaks["run"].isin(names)]
    blocks = [Block("Runs", "", runs.fillna("").astype(str))]
    blocks.append(
        Block(
            "Λ(k) over steps",
            " ".join(f"{run}, from step {step + 1} on: {change}." for run, step, change in breaks.values),
            figure=panels.mark_breaks(charts.lambda_over_steps(averages.lambdas(), looks), breaks, looks),
            name="lambda",
        )
    )
    blocks.append(
        Block(
            "Probability of the ranked candidates",
            "Dotted, open markers: at the start. Filled markers: at the end.",
            figure=charts.rank_profile(averages.profile(), looks),
            name="rank-probabilities",
        )
    )
    passes = averages.passes()
    if len(passes):
        blocks += _passes(passes, looks)
    points = connection.execute(_CONCENTRATION).df()
    if len(points):
        figure = charts.concentration_scatter(
            points, looks, x_title="Λ(1) (nats)", y_title=f"pass@{points['k'].iloc[0]}"
        )
        blocks.append(
            Block(
                "Concentration and pass@k",
                "One point an evaluation; the last one is large.",
                figure=figure,
                name="concentration",
            )
        )
    histograms = averages.histograms()
    if len(histograms):
        blocks.append(
            Block(
                "Entropy of tokens over training",
                "Share of tokens, square-root scale.",
                figure=charts.entropy_heatmap(histograms, looks),
                name="entropy",
            )
        )
    pushes = averages.pushes()
    if len(pushes):
        words = "First-order push of the losses trained on, mean over steps, by the verdict of the answer."
        blocks.append(Block("What pushes Λ(k)", words, figure=study_charts.push_bars(pushes), name="push"))
    lost = lost_starts(connection, [run for run in catalog.runs if run.name in names])
    starts = [lost_start_in_words(run, *steps) for run, steps in lost.items()]
    title = f"Run {names[0]}" if len(names) == 1 else f"{len(names)} runs"
    report = Report(title, "; ".join([*catalog.problems, *incomplete_steps(connection), *starts]), blocks)
    connection.close()
    return report


def _passes(passes: pd.DataFrame, looks: panels.Looks) -> list[Block]:
    ends = passes.groupby("run")["step"].agg(["min", "max"])
    rows = passes[passes["step"].isin(ends["min"]) | passes["step"].isin(ends["max"])].copy()
    latest = rows["step"] == rows["run"].map(ends["max"])
    first = rows["step"] == rows["run"].map(ends["min"])
    rows = rows[latest | first].assign(
        when=latest.map({True: "latest", False: "first"}), panel="", low=math.nan, high=math.nan
    )
    chosen = sorted(passes["k"].unique())
    few = [chosen[0], chosen[len(chosen) // 2], chosen[-1]] if len(chosen) > 2 else chosen
    over = passes[passes["k"].isin(few)].assign(low=math.nan, high=math.nan)
    return [
        Block(
            "pass@k curves",
            "Held-out problems. Dotted, open markers: before training. Filled markers: latest.",
            figure=charts.pass_curves(rows, looks),
            name="pass-at-k",
        ),
        Block(
            "pass@k over training",
            "Held-out problems.",
            figure=charts.pass_over_steps(over, looks),
            name="pass-over-steps",
        ),
    ]
