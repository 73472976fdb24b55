"""Figures that only a study needs, as in `dashboard.charts`: from data frames to figures. Colour means label."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from ..components.names import label, whole
from ..components.panels import PER_CENT, STEP, Look, Looks, by_run, cell, faint, line, named, panels, per_cent

RANK_COLOURS = {"sample": "#7a7f87", "1": "#2f6fdb", "2": "#e0762a", "3": "#2a9d6f"}
VERDICT_COLOURS = {"right": "#2a9d6f", "wrong": "#d14b4b"}


def lambda_by_method(frame: pd.DataFrame, labels: list[str]) -> go.Figure:
    """Λ of the sampled token and Λ(1..3) by step, one panel per method.

    Columns: run, step, k, lambda_k, lambda_sample.
    """
    figure = panels(labels, "Λ (nats)", STEP)
    for panel, method in enumerate(labels):
        rows = frame[frame["run"] == method]
        first = rows[rows["k"] == 1]
        lines = [("sample", first["step"], first["lambda_sample"])]
        lines += [(str(k), part["step"], part["lambda_k"]) for k, part in rows.groupby("k")]
        for name, steps, values in lines:
            shown = "Λ sampled token" if name == "sample" else f"Λ({name})"
            line(
                figure, panel, shown, steps, values, {shown: Look(RANK_COLOURS[name])},
                dotted=name == "sample", hover="step %{x}: %{y:.4f} nats",
            )  # fmt: skip
    figure.update_yaxes(matches="y")
    return figure


def rank_bars(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """Mean probability of the rank-k candidate after training. Columns: run, k, probability, forking_probability."""
    figure = panels(["all tokens", "forking tokens"], "mean probability", "rank k of the candidate")
    for panel, column in enumerate(("probability", "forking_probability")):
        for run, rows in by_run(frame):
            figure.add_bar(
                x=rows["k"], y=rows[column], **named(run), showlegend=panel == 0,
                marker={"color": looks[run].css, "line": {"width": 0}, "pattern": {"shape": looks[run].pattern}},
                hovertemplate=f"{whole(run)}, rank %{{x}}: %{{y:.1%}}<extra></extra>", **cell(figure, panel),
            )  # fmt: skip
    figure.update_xaxes(dtick=1)
    per_cent(figure)
    figure.update_layout(barmode="group", showlegend=True)
    return figure


def frontier(points: pd.DataFrame, finals: pd.DataFrame, looks: Looks, *, k: int) -> go.Figure:
    """Checkpoints of the reference in grey, one line a run, and where each label ends.

    Columns: points: run, x, y; finals: run (label), x, y.
    """
    figure = panels([""], f"pass@{k}", "pass@1", height=430)
    for place, (run, rows) in enumerate(by_run(points)):
        figure.add_scatter(
            x=rows["x"], y=rows["y"], mode="lines+markers", name="checkpoints of the reference", showlegend=place == 0,
            legendgroup="reference", line={"color": faint("#7a7f87", 0.35), "width": 1},
            marker={"size": 4, "color": faint("#7a7f87", 0.6)},
            hovertemplate=f"{whole(run)}<br>%{{x:.1%}}, %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    for run, rows in by_run(finals):
        figure.add_scatter(
            x=rows["x"], y=rows["y"], mode="markers", **named(run),
            marker={"size": 11, "color": looks[run].css, "symbol": looks[run].symbol},
            hovertemplate=f"{whole(run)}<br>pass@1 %{{x:.1%}}, pass@{k} %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(tickformat=PER_CENT)
    per_cent(figure)
    figure.update_layout(showlegend=True)
    return figure


def push_bars(frame: pd.DataFrame) -> go.Figure:
    """Push on Λ(1..3) by where it comes from, one panel per rank. Columns: run, verdict, k, push."""
    ranks = sorted(frame["k"].unique())
    figure = panels([f"Λ({k})" for k in ranks], "push per token (nats per unit step)", "")
    for panel, k in enumerate(ranks):
        for verdict, rows in frame[frame["k"] == k].groupby("verdict"):
            figure.add_bar(
                x=rows["run"], y=rows["push"], name=f"from {verdict} answers", legendgroup=verdict,
                showlegend=panel == 0, marker={"color": VERDICT_COLOURS[str(verdict)], "line": {"width": 0}},
                customdata=[whole(str(run)) for run in rows["run"]],
                hovertemplate=f"%{{customdata}}, from {verdict} answers: %{{y:.3~g}}<extra></extra>",
                **cell(figure, panel),
            )  # fmt: skip
    figure.update_layout(barmode="relative", showlegend=True)
    runs = list(dict.fromkeys(frame["run"]))
    names = [label(str(run)) for run in runs]
    figure.update_xaxes(title_text="", type="category", tickmode="array", tickvals=runs, ticktext=names)
    return figure
