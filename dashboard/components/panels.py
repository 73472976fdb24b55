"""What every figure is made of: panels side by side, a line or band per run, and the looks of runs.

Text and grid colours are left to the page (`live_chart`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .names import label, literal, markup, whole

PALETTE = ("#2a72dd", "#e2741f", "#20a3ab", "#bf1d24", "#7e06ff", "#ad8f6a", "#8d4f61", "#046c9e")
"""No more than can be told apart, also by the colour-blind, on white and on black; the next eight are dashed."""
DASHES = ("solid", "dash", "longdash", "dashdot", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
PATTERNS = ("", "/", "x", ".", "-")
_MARKERS_SHOWN = 12
"""Of a dashed line without markers of its own: enough to tell its shape."""
STEP = "optimizer step"
PER_CENT = ".2~%"  # as many decimals as tell ticks apart


class Look(NamedTuple):
    """What tells a run from others: colour, and where colours are used up, dashes, markers and hatching.

    Attributes:
        css: its colour.
        dash: of its lines.
        symbol: of its markers.
        pattern: of its bars.
    """

    css: str
    dash: str = DASHES[0]
    symbol: str = SYMBOLS[0]
    pattern: str = PATTERNS[0]


Looks = Mapping[str, Look]


def look(place: int) -> Look:
    """The look of the run that appeared as number `place` (from 0); all differ up to 40 runs."""
    turn = place // len(PALETTE) % len(DASHES)
    return Look(PALETTE[place % len(PALETTE)], DASHES[turn], SYMBOLS[turn], PATTERNS[turn])


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
    shown = [label(title) for title in titles]
    figure = make_subplots(rows, columns, subplot_titles=shown, horizontal_spacing=0.075, vertical_spacing=gap)
    for note, title in zip(figure.layout.annotations, filter(None, titles), strict=True):
        if note.text != markup(literal(title)):
            note.hovertext = whole(title)
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
    # Plain numbers down to 0.0001 and up to 99 999, then powers of ten; never "200µ".
    figure.update_xaxes(exponentformat="power", minexponent=4)
    figure.update_yaxes(exponentformat="power", minexponent=4)
    figure.update_yaxes(showgrid=True, gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)


def per_cent(figure: go.Figure, panel: int | None = None, *, most: float | None = 1.0) -> None:
    """Axes of shares: percent, no wider than they can be, and 0 to 100 % where there is nothing to show yet.

    Args:
        figure: with its traces.
        panel: the only one; None: all.
        most: the largest share there can be; None: there is no such.
    """
    limits = {"clipmin": -0.02, **({} if most is None else {"clipmax": most + 0.02})}
    axes = list(figure.select_yaxes(**({} if panel is None else cell(figure, panel))))
    for axis in axes:
        name = axis.plotly_name.replace("axis", "")
        values = [trace.y for trace in figure.data if (trace.yaxis or "y") == name and trace.y is not None]
        known = any(not pd.isna(value) for some in values for value in some)
        axis.update(tickformat=PER_CENT, autorangeoptions=limits)
        if not known:
            axis.update(range=[0, 1])


def cell(figure: go.Figure, panel: int) -> dict[str, int]:
    """Row and column of a panel, as figures take them."""
    columns = len(figure._grid_ref[0])
    return {"row": panel // columns + 1, "col": panel % columns + 1}


def of_subset(figure: go.Figure, verdict: str) -> go.Figure:
    """Say in every panel's title which responses count, unless all do."""
    if verdict != "all":
        for note in figure.layout.annotations:
            note.text = f"{note.text} · {verdict} only"
    return figure


def named(run: str) -> dict[str, str]:
    """What a trace of a run is called: in the legend, and on hovering over it (`meta`) where that is not all."""
    shown = label(run)
    rest = {} if shown == markup(literal(run)) else {"meta": literal(run)}
    return {"name": shown, "legendgroup": run, **rest}


def line(
    figure: go.Figure, panel: int, run: str, x: Iterable[float], y: Iterable[float], looks: Looks, *,
    dotted: bool = False, markers: bool = False, in_legend: bool = True, hover: str = "",
) -> None:  # fmt: skip
    """One run's line in a panel; its first one is the run's entry in the legend. A single point is drawn as one.

    A dotted line is thinner and its markers are open: the other of two lines that a run has in a panel.
    """
    known = any(trace.legendgroup == run and trace.showlegend for trace in figure.data)
    x, y = list(x), list(y)
    own = looks[run]
    every = markers or len(x) < 3
    figure.add_scatter(
        x=x, y=y, **named(run), showlegend=in_legend and not known,
        mode="lines+markers" if every or own.symbol != SYMBOLS[0] else "lines",
        line={"color": own.css, "width": 1.6 if dotted else 2.2, "dash": "dot" if dotted else own.dash},
        marker={
            "size": 7, "color": own.css, "symbol": f"{own.symbol}-open" if dotted else own.symbol,
            "maxdisplayed": 0 if every else _MARKERS_SHOWN,
        },
        hovertemplate=f"{whole(run)}<br>{hover}<extra></extra>", **cell(figure, panel),
    )  # fmt: skip


def mark_breaks(figure: go.Figure, breaks: pd.DataFrame, looks: Looks) -> go.Figure:
    """A dashed line in every panel over steps where a run's figures begin to mean something else.

    Args:
        figure: its panels have optimizer steps as x.
        breaks: run, step (the last one before), change (`temperature 1.0 → 0.5`).
        looks: of the runs.
    """
    for run, step, change in breaks[["run", "step", "change"]].itertuples(index=False):
        line = {"color": looks[run].css, "width": 1.5, "dash": "dash"}
        figure.add_vline(x=step + 0.5, line=line, opacity=0.8, row="all", col="all")
        figure.add_vline(
            x=step + 0.5, line={**line, "width": 0}, row=1, col=1, annotation_text=label(change),
            annotation={
                "font": {"size": 11, "color": looks[run].css}, "xanchor": "left", "yanchor": "top",
                "hovertext": whole(f"{run}: {change}"),
            },
        )  # fmt: skip
    return figure


def band(
    figure: go.Figure, panel: int, run: str, rows: pd.DataFrame, looks: Looks, *, alpha: float, x: str = "k"
) -> None:
    """The interval low..high as an area behind the line."""
    rows = rows.dropna(subset=["low", "high"])
    if rows.empty:
        return
    figure.add_scatter(
        x=[*rows[x], *rows[x][::-1]], y=[*rows["high"], *rows["low"][::-1]], fill="toself", mode="lines",
        line={"width": 0}, fillcolor=faint(looks[run].css, alpha), legendgroup=run, showlegend=False, hoverinfo="skip",
        **cell(figure, panel),
    )  # fmt: skip
