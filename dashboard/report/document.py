"""From blocks of words, tables and figures to one HTML file, or to PNGs of its figures.

The file holds Plotly's script and loads nothing. It follows the reader's light or dark preference; every text in it is
escaped and shown literally, whatever a run or a study is called. PNGs are drawn by kaleido, which needs a Chromium.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ...store.errors import SimkoError
from ..components.names import literal
from ..components.plotly_page import FIGURE_JS


class ReportFailed(SimkoError):
    """The report cannot be made or written."""


@dataclass(frozen=True)
class Block:
    """A part of a report: a heading, words, and a table or a figure or both.

    Attributes:
        title: of the part.
        words: a paragraph, plain text.
        table: short texts, or None.
        figure: or None.
        name: of the figure's PNG, without its ending.
    """

    title: str
    words: str = ""
    table: pd.DataFrame | None = None
    figure: go.Figure | None = None
    name: str = ""


@dataclass(frozen=True)
class Report:
    """A title, a line under it, and the blocks in order."""

    title: str
    subtitle: str = ""
    blocks: list[Block] = field(default_factory=list)


def to_html(report: Report) -> str:
    """The whole file's text."""
    parts = [_block(block, place) for place, block in enumerate(report.blocks)]
    figures = [b.figure.to_plotly_json() for b in report.blocks if b.figure is not None]
    data = json.dumps(figures, cls=_encoder()).replace("</", "<\\/").replace("<!--", "<\\!--")
    links = "".join(f'<a href="#part-{place}">{_text(block.title)}</a>' for place, block in enumerate(report.blocks))
    return _PAGE.format(
        title=_text(report.title),
        subtitle=_text(report.subtitle),
        links=links,
        body="\n".join(parts),
        data=data,
        plotly=get_plotlyjs(),
        css=_CSS,
        js=_JS,
    )


def write_images(report: Report, folder: Path) -> list[Path]:
    """Draw every figure as `<name>.png`, 1200 wide, on white.

    Raises:
        ReportFailed: kaleido or its browser is missing, or the folder cannot be written.
    """
    written = []
    for block in report.blocks:
        if block.figure is None:
            continue
        path = folder / f"{block.name or _slug(block.title)}.png"
        figure = go.Figure(block.figure).update_layout(
            paper_bgcolor="white", plot_bgcolor="white", title={"text": block.title}, margin_t=90
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            figure.write_image(path, width=1200, height=figure.layout.height + 40, scale=2)
        except ImportError as error:
            raise ReportFailed("PNGs need the package kaleido: pip install 'simko[png]'") from error
        except OSError as error:
            raise ReportFailed(f"cannot write {path}: {error.strerror or error}") from error
        except (RuntimeError, ValueError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ReportFailed(f"PNGs need a Chrome or Chromium that kaleido can start ({first})") from error
        written.append(path)
    return written


def _encoder() -> Any:
    from plotly.utils import PlotlyJSONEncoder

    return PlotlyJSONEncoder


def _text(text: str) -> str:
    return html.escape(literal(text, running=True))


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "figure"


def _block(block: Block, place: int) -> str:
    parts = [f'<section id="part-{place}"><h2>{_text(block.title)}</h2>']
    if block.words:
        parts.append(f"<p>{_text(block.words)}</p>")
    if block.table is not None:
        parts.append(_table(block.table))
    if block.figure is not None:
        parts.append('<div class="figure"></div>')
    return "".join([*parts, "</section>"])


def _table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{_text(str(name))}</th>" for name in frame.columns)
    rows = []
    for row in frame.itertuples(index=False):
        cells = "".join(f"<td{_mark(str(cell))}>{_text(str(cell))}</td>" for cell in row)
        rows.append(f"<tr>{cells}</tr>")
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _mark(cell: str) -> str:
    """A verdict wears a class, so that the eye finds it."""
    kinds = {"holds": "yes", "does not hold": "no", "undecided": "open"}
    return f' class="{kinds[cell]}"' if cell in kinds else ""


_CSS = """
:root { color-scheme: light dark; --text: #1c2430; --soft: #5b6675; --line: #d9dee6; --page: #ffffff; --card: #f6f8fb;
        --yes: #1a7f4b; --no: #b3362b; --open: #8a6d1a; }
@media (prefers-color-scheme: dark) { :root { --text: #e6eaf0; --soft: #9aa6b5; --line: #323b47; --page: #12161c;
        --card: #1a2029; --yes: #4fc38a; --no: #ef7d72; --open: #d9b54a; } }
body { margin: 0 auto; max-width: 1240px; padding: 2rem 1.5rem 5rem; background: var(--page); color: var(--text);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .2rem; font-size: 1.9rem; } h2 { margin: 2.6rem 0 .4rem; font-size: 1.25rem; }
p { max-width: 80ch; margin: .3rem 0 .8rem; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: 1rem 0; font-size: .9rem; }
nav a { color: var(--soft); }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .9rem .32rem 0; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td:first-child { white-space: normal; min-width: 9rem; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); font-weight: 600; } .open { color: var(--open); }
.figure { min-height: 300px; }
.figure text { fill: var(--text) !important; }
.figure .gridlayer path, .figure .xlines-above, .figure .ylines-above {
  stroke: color-mix(in srgb, var(--text) 30%, transparent) !important; }
.figure .hoverlayer .hovertext path { fill: var(--page) !important; stroke: var(--line) !important; }
.figure .modebar-group { background: transparent !important; }
"""
_JS = (
    FIGURE_JS
    + """
const figures = JSON.parse(document.getElementById("figures").textContent);
document.querySelectorAll(".figure").forEach((node, i) => { drawFigure(Plotly, node, figures[i]); });
"""
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{css}</style></head>
<body><h1>{title}</h1><p>{subtitle}</p><nav>{links}</nav>
{body}
<script type="application/json" id="figures">{data}</script>
<script>{plotly}</script>
<script>{js}</script>
</body></html>
"""
