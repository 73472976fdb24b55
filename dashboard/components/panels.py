"""What every figure is made of: panels side by side, a line or band per run, and the colours of runs.

Text and grid colours are left to the page (`live_chart`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

PALETTE = (
    "#2f6fdb", "#e0762a", "#2a9d6f", "#c2478f", "#8a63d2", "#b8892b", "#2ba3b8", "#d14b4b", "#6b8e23", "#7a7f87",
)  # fmt: skip
STEP = "optimizer step"
PER_CENT = ".2~%"  # as many decimals as tell ticks apart
Colours = Mapping[str, str]


def colour(place: int) -> str:
    """The colour of the run that appeared as number `place` (from 0)."""
    return PALETTE[place % len(PALETTE)]


def faint(css: str, alpha: float) -> str:
    """A hex colour made transparent."""
    red, green, blue = (int(css[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def by_run(frame: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """Each run with its rows, in order of first appearance."""
    return ((str(run), rows) for run, rows in frame.groupby("run", sort=False))


def panels(titles: Sequence[str], y_title: str | None, x_title: str, *, height: int = 330) -> go.Figure:
    """Panels side by side, at most three in a row."""
    return go.Figure(_empty_panels(tuple(titles), y_title, x_title, height))


@lru_cache(maxsize=64)
def _empty_panels(titles: tuple[str, ...], y_title: str | None, x_title: str, height: int) -> go.Figure:
    """The panels before anything is drawn: Plotly takes ten times as long to lay them out as to copy them."""
    columns = min(max(len(titles), 1), 3)
    rows = -(-max(len(titles), 1) // columns)
    gap = 0.36 * 330 / (height * rows) if rows > 1 else 0
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.075, vertical_spacing=gap)
    figure.update_xaxes(title_text=x_title)
    if y_title:
        figure.update_yaxes(title_text=y_title, col=1)
    figure.update_annotations(font={"size": 14}, yshift=6)
    style(figure, height=height * rows, titled=any(titles))
    return figure


def style(figure: go.Figure, *, height: int, titled: bool = False) -> None:
    """What all figures share: no background of their own, the legend below, quiet axes."""
    figure.update_layout(
        template="none", height=height, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"size": 13},
        margin={"l": 62, "r": 16, "t": 40 if titled else 12, "b": 84},
        hovermode="closest", hoverlabel={"align": "left"},
        legend={"orientation": "h", "yref": "container", "y": 0.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    )  # fmt: skip
    figure.update_xaxes(showgrid=False, zeroline=False, showline=True, ticks="outside", ticklen=4, automargin=True)
    figure.update_xaxes(title={"font": {"size": 13}, "standoff": 8}, tickfont={"size": 12})
    figure.update_yaxes(title={"font": {"size": 13}, "standoff": 8}, tickfont={"size": 12})
    figure.update_yaxes(showgrid=True, gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)


def cell(figure: go.Figure, panel: int) -> dict[str, int]:
    """Row and column of a panel, as figures take them."""
    columns = len(figure._grid_ref[0])
    return {"row": panel // columns + 1, "col": panel % columns + 1}


def line(
    figure: go.Figure, panel: int, run: str, x: Iterable[float], y: Iterable[float], colours: Colours, *,
    dash: str = "solid", markers: bool = False, in_legend: bool = True, hover: str = "",
) -> None:  # fmt: skip
    """One run's line in a panel; its first one is the run's entry in the legend. A single point is drawn as one."""
    known = any(trace.name == run and trace.showlegend for trace in figure.data)
    x, y = list(x), list(y)
    figure.add_scatter(
        x=x, y=y, name=run, legendgroup=run, showlegend=in_legend and not known,
        mode="lines+markers" if markers or len(x) < 3 else "lines",
        line={"color": colours[run], "width": 1.6 if dash != "solid" else 2.2, "dash": dash},
        marker={"size": 6, "color": colours[run]},
        hovertemplate=f"{run}<br>{hover}<extra></extra>", **cell(figure, panel),
    )  # fmt: skip


def mark_breaks(figure: go.Figure, breaks: pd.DataFrame, colours: Colours) -> go.Figure:
    """A dashed line in every panel over steps where a run's figures begin to mean something else.

    Args:
        figure: its panels have optimizer steps as x.
        breaks: run, step (the last one before), change (`temperature 1.0 → 0.5`).
        colours: run → CSS colour.
    """
    for run, step, change in breaks[["run", "step", "change"]].itertuples(index=False):
        line = {"color": colours[run], "width": 1.5, "dash": "dash"}
        figure.add_vline(x=step + 0.5, line=line, opacity=0.8, row="all", col="all")
        figure.add_vline(
            x=step + 0.5, line={**line, "width": 0}, row=1, col=1, annotation_text=change,
            annotation={"font": {"size": 11, "color": colours[run]}, "xanchor": "left", "yanchor": "top"},
        )  # fmt: skip
    return figure


def band(
    figure: go.Figure, panel: int, run: str, rows: pd.DataFrame, colours: Colours, *, alpha: float, x: str = "k"
) -> None:
    """The interval low..high as an area behind the line."""
    rows = rows.dropna(subset=["low", "high"])
    if rows.empty:
        return
    figure.add_scatter(
        x=[*rows[x], *rows[x][::-1]], y=[*rows["high"], *rows["low"][::-1]], fill="toself", mode="lines",
        line={"width": 0}, fillcolor=faint(colours[run], alpha), legendgroup=run, showlegend=False, hoverinfo="skip",
        **cell(figure, panel),
    )  # fmt: skip
