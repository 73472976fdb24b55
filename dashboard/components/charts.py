"""Figures from data frames: Plotly alone, no Streamlit, no queries, so that a report or a notebook can draw them too.

Every function takes the columns named in its docstring and `looks` (run → how it is drawn), and returns a figure. A
look means a run, everywhere; panels mean rank or k; a dotted line with open markers means the first step or evaluation,
the other one the latest.
Text and grid colours are left to the page (`live_chart`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ...store.layout.schema import ENTROPY_BIN_WIDTH
from .names import literal, markup, shortened, whole
from .panels import STEP, Looks, band, by_run, cell, faint, line, named, panels, per_cent, style

LONGEST_TOKEN = 40
"""Characters of a candidate that a chart has room for."""


def lambda_over_steps(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """Λ(k) by step, one panel per rank. Columns: run, step, k, lambda_k, n_responses."""
    ranks = sorted(frame["k"].unique())
    figure = panels([f"Λ({k})" for k in ranks], "Λ(k) (nats)", STEP)
    for panel, k in enumerate(ranks):
        for run, rows in by_run(frame[frame["k"] == k]):
            line(figure, panel, run, rows["step"], rows["lambda_k"], looks, hover="step %{x}: %{y:.4f} nats")
    return figure


def rank_profile(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """Mean probability of the rank-k candidate, first and latest step, over all and over forking tokens.

    Columns: run, when ('first' or 'latest'), step, k, probability, forking_probability; perhaps label.
    """
    figure = panels(["all tokens", "forking tokens"], "mean probability", "rank k of the candidate")
    for panel, column in enumerate(("probability", "forking_probability")):
        for run, rows in by_run(frame):
            for when, part in rows.groupby("when", sort=False):
                line(
                    figure, panel, run, part["k"], part[column], looks,
                    dotted=when == "first", markers=True, in_legend=when == "latest",
                    hover=f"{_end(str(when), part)}, rank %{{x}}: %{{y:.4f}}",
                )  # fmt: skip
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(type="log", dtick=1, minor={"showgrid": False}, exponentformat="power", tickfont={"size": 10})
    return figure


def pass_curves(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """pass@k over k, first and latest evaluation, one panel per source.

    Columns: run, panel (its title), when ('first' or 'latest'), step, k, pass_at_k, low, high (NaN: no interval);
    perhaps label.
    """
    titles = list(dict.fromkeys(frame["panel"]))
    figure = panels(titles, "pass@k", "k (responses one may try)")
    for place, panel in enumerate(titles):
        for run, rows in by_run(frame[frame["panel"] == panel]):
            for when, part in rows.groupby("when", sort=False):
                band(figure, place, run, part, looks, alpha=0.07 if when == "first" else 0.18)
                line(
                    figure, place, run, part["k"], part["pass_at_k"], looks,
                    dotted=when == "first", markers=True, in_legend=when == "latest",
                    hover=f"{_end(str(when), part)}, k = %{{x}}: %{{y:.1%}}",
                )  # fmt: skip
    powers = [2**i for i in range(int(np.log2(max(frame["k"].max(), 2))) + 1)]
    figure.update_xaxes(type="log", tickvals=powers, ticktext=[str(k) for k in powers])
    per_cent(figure)
    figure.update_yaxes(rangemode="tozero")
    return figure


def pass_over_steps(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """pass@k by step, one panel per k. Columns: run, step, k, pass_at_k, low, high (NaN: no interval)."""
    chosen = sorted(frame["k"].unique())
    figure = panels([f"pass@{k}" for k in chosen], "pass@k", STEP)
    for place, k in enumerate(chosen):
        for run, rows in by_run(frame[frame["k"] == k]):
            band(figure, place, run, rows, looks, alpha=0.15, x="step")
            line(
                figure, place, run, rows["step"], rows["pass_at_k"], looks,
                markers=len(rows) < 40, hover="step %{x}: %{y:.1%}",
            )  # fmt: skip
    per_cent(figure)
    return figure


def concentration_scatter(frame: pd.DataFrame, looks: Looks, *, x_title: str, y_title: str) -> go.Figure:
    """Checkpoints as points joined in order of steps. Columns: run, step, x, y."""
    figure = panels([""], y_title, x_title, height=430)
    for run, rows in by_run(frame):
        last = [9] * (len(rows) - 1) + [15]
        figure.add_scatter(
            x=rows["x"], y=rows["y"], customdata=rows["step"], **named(run), mode="lines+markers",
            line={"color": faint(looks[run].css, 0.35), "width": 1.5, "dash": looks[run].dash},
            marker={
                "color": looks[run].css, "symbol": looks[run].symbol, "size": last, "line": {"width": 0}, "opacity": 1,
            },
            hovertemplate=f"{whole(run)}, step %{{customdata}}<br>%{{x:.3f}}, %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    per_cent(figure)
    figure.update_layout(showlegend=True)  # of one run too
    return figure


def entropy_heatmap(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """Share of tokens by entropy over steps, one panel a run. Columns: run, step, histogram (list of counts).

    Panels share the axis of entropy and the scale of colour, unless the runs' entropies are so unlike that one would be
    squeezed to a line.
    """
    runs = list(dict.fromkeys(frame["run"]))
    figure = panels(runs, "entropy H (nats)", STEP, height=300)
    counts = {run: _histograms(frame[frame["run"] == run]) for run in runs}
    used = {run: int(np.flatnonzero(c.sum(0))[-1]) + 1 if c.any() else 1 for run, c in counts.items()}
    most = max(used.values(), default=1)
    alike = most <= 3 * min(used.values(), default=1)
    shares = {run: c / np.maximum(c.sum(1, keepdims=True), 1) for run, c in counts.items()}
    deepest = max((share.max() for share in shares.values()), default=1.0)
    for panel, run in enumerate(runs):
        shown = most if alike else used[run]
        share = shares[run][:, :shown].T
        figure.add_heatmap(
            x=frame.loc[frame["run"] == run, "step"], y=(np.arange(shown) + 0.5) * ENTROPY_BIN_WIDTH,
            z=np.sqrt(share), customdata=share, zmin=0,
            zmax=float(np.sqrt(deepest if alike else share.max())) or 1.0, showscale=False, xgap=0, ygap=0,
            colorscale=[[0, faint(looks[run].css, 0.0)], [0.5, faint(looks[run].css, 0.6)], [1, looks[run].css]],
            hovertemplate="step %{x}, H ≈ %{y:.2f} nats: %{customdata:.1%} of tokens<extra></extra>",
            **cell(figure, panel),
        )  # fmt: skip
        figure.update_yaxes(range=[0, shown * ENTROPY_BIN_WIDTH], **cell(figure, panel))
    if alike:
        figure.update_yaxes(matches="y")
    return figure


def entropy_means(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """Mean entropy and share of rank-1 tokens by step. Columns: run, step, entropy, rank_1."""
    figure = panels(["mean entropy (nats)", "sampled token was rank 1"], None, STEP)
    for run, rows in by_run(frame):
        line(figure, 0, run, rows["step"], rows["entropy"], looks, hover="step %{x}: %{y:.4f} nats")
        line(figure, 1, run, rows["step"], rows["rank_1"], looks, hover="step %{x}: %{y:.1%}")
    per_cent(figure, 1)
    return figure


def push_over_steps(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """Push on Λ(k) by step, one panel per rank; solid from right answers, dotted from wrong ones.

    Columns: run, verdict, step, k, y.
    """
    ranks = sorted(frame["k"].unique())
    figure = panels([f"Λ({k})" for k in ranks], "push per token", STEP)
    for panel, k in enumerate(ranks):
        for run, rows in by_run(frame[frame["k"] == k]):
            for verdict, part in rows.groupby("verdict", sort=True):
                line(
                    figure, panel, run, part["step"], part["y"], looks,
                    dotted=verdict != "right", in_legend=verdict == rows["verdict"].min(),
                    hover=f"from {verdict} answers, step %{{x}}: %{{y:.3~g}}",
                )  # fmt: skip
    figure.update_yaxes(zeroline=True, zerolinecolor="rgba(128,128,128,0.5)", zerolinewidth=1)
    return figure


def cost_over_steps(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """What logging takes of each step, and of the disk so far.

    Columns: run, step, step_ms, probe_ms, share, queue_wait_ms, n_dropped, megabytes.
    """
    series = {
        "share": ("probe's share of the step", "%{y:.2%}"),
        "probe_ms": ("probe (ms per step)", "%{y:.2f} ms"),
        "step_ms": ("step (ms)", "%{y:.0f} ms"),
        "queue_wait_ms": ("waiting for the queue (ms per step)", "%{y:.2f} ms"),
        "n_dropped": ("micro-batches dropped", "%{y:.0f}"),
        "megabytes": ("written so far (MB)", "%{y:.2f} MB"),
    }
    figure = panels([title for title, _ in series.values()], None, STEP)
    for panel, (column, (_, value)) in enumerate(series.items()):
        for run, rows in by_run(frame):
            line(figure, panel, run, rows["step"], rows[column], looks, hover=f"step %{{x}}: {value}")
    figure.update_yaxes(rangemode="tozero")
    per_cent(figure, 0, most=None)
    return figure


def push_against_shift(frame: pd.DataFrame, looks: Looks) -> go.Figure:
    """Push on Λ(k) and the measured change, one panel per rank. Columns: run, step, k, push, shift."""
    ranks = sorted(frame["k"].unique())
    figure = panels([f"Λ({k})" for k in ranks], "measured change (nats)", "push per token")
    for panel, k in enumerate(ranks):
        for run, rows in by_run(frame[frame["k"] == k]):
            figure.add_scatter(
                x=rows["push"], y=rows["shift"], customdata=rows["step"], **named(run), mode="markers",
                showlegend=panel == 0,
                marker={"color": looks[run].css, "symbol": looks[run].symbol, "size": 6, "opacity": 0.75},
                hovertemplate=f"{whole(run)}, step %{{customdata}}<br>"
                "push %{x:.3~g} per token, change %{y:.3~g} nats<extra></extra>",
                **cell(figure, panel),
            )  # fmt: skip
    figure.update_layout(showlegend=True)
    return figure


def candidates(frame: pd.DataFrame, css: str) -> go.Figure:
    """Ranked candidates of one position as bars. Columns: rank, text, probability, sampled (bool)."""
    notes = [
        f"{_probability(p)}{' ← sampled' if s else ''}"
        for p, s in zip(frame["probability"], frame["sampled"], strict=True)
    ]
    label = [
        f"rank {rank}   <b>{_visible(text)}</b>  " for rank, text in zip(frame["rank"], frame["text"], strict=True)
    ]
    figure = go.Figure()
    figure.add_bar(
        x=frame["probability"], y=label, orientation="h", textposition="outside", cliponaxis=False,
        text=notes,
        marker={"color": [css if s else faint(css, 0.4) for s in frame["sampled"]], "line": {"width": 0}},
        hovertemplate="%{x:.4%}<extra></extra>", showlegend=False,
    )  # fmt: skip
    style(figure, height=90 + 34 * max(len(frame), 1))
    figure.update_xaxes(title_text="probability", tickformat=".0%", range=[0, 1.18], tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_layout(margin={"l": 10, "r": 10, "t": 10, "b": 45})
    return figure


def _end(when: str, part: pd.DataFrame) -> str:
    """What an end of a run is called: by its `label`, where the caller knows more than whether it is the first."""
    return str(part["label"].iloc[0]) if "label" in part else f"{when} (step {int(part['step'].iloc[0])})"


def _probability(p: float) -> str:
    return f"{p:.1%}" if p >= 1e-3 else f"{p:.0e}".replace("e-0", "e-")


def _visible(text: str) -> str:
    """A token's text with its spaces and line ends to be seen, and nothing Plotly takes for markup."""
    shown = text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")
    return markup(shortened(literal(shown), LONGEST_TOKEN))


def _histograms(rows: pd.DataFrame) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([np.asarray(h, np.float64) for h in rows["histogram"]])
