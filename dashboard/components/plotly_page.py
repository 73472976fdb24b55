"""What Plotly does on a page, the same on the dashboard and in a report: buttons, whole names, narrow windows.

Buttons are listed rather than left out, since Plotly brings new ones: its "Share chart…" uploads the figure.
"""

from __future__ import annotations

import json
from typing import Any

BUTTONS = ("toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d")
CONFIG: dict[str, Any] = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtons": [list(BUTTONS)],
    "showSendToCloud": False,
    "plotlyServerURL": "",
}
"""Plotly's `config`."""

_CONFIG_JS = f"const plotlyConfig = {json.dumps(CONFIG)};"
_WHOLE_NAMES_JS = """
function wholeNames(node) {
  node.querySelectorAll(".legend .traces").forEach((entry) => {
    const whole = entry.__data__?.[0]?.trace?.meta;
    let title = entry.querySelector("title");
    if (!whole) { title?.remove(); return; }
    if (!title) entry.prepend(title = document.createElementNS("http://www.w3.org/2000/svg", "title"));
    title.textContent = whole;
  });
}
"""
"""`wholeNames(node)` lets a shortened name of a legend tell the whole one when the pointer rests on it."""
_STACKED_JS = """
const PANEL_WIDTH = 230;
function isNarrow(layout, width) {
  const axes = Object.keys(layout).filter((key) => /^xaxis\\d*$/.test(key));
  const columns = new Set(axes.map((key) => Math.round(1000 * (layout[key].domain ?? [0])[0]))).size;
  return columns > 1 && width > 0 && width < PANEL_WIDTH * columns;
}
function stacked(layout, narrow) {
  if (!narrow) return layout;
  const result = structuredClone(layout);
  const numbers = Object.keys(layout).filter((key) => /^yaxis\\d*$/.test(key)).map((key) => key.slice(5));
  numbers.sort((a, b) => Number(a || 1) - Number(b || 1));
  const rows = new Set(numbers.map((number) => Math.round(1000 * layout["yaxis" + number].domain[0]))).size;
  result.height = numbers.length * layout.height / rows;
  const gap = 105 / result.height, share = (1 - gap * (numbers.length - 1)) / numbers.length;
  numbers.forEach((number, place) => {
    const top = 1 - place * (share + gap);
    const [left, right] = layout["xaxis" + number].domain, old = layout["yaxis" + number].domain[1];
    const y = result["yaxis" + number];
    result["xaxis" + number].domain = [0, 1];
    y.domain = [Math.max(0, top - share), top];
    y.title = y.title?.text ? y.title : structuredClone(layout.yaxis.title);
    (layout.annotations ?? []).forEach((note, which) => {
      const over = Math.abs(note.x - (left + right) / 2) < 1e-6 && Math.abs(note.y - old) < 1e-6;
      if (note.xref === "paper" && over) Object.assign(result.annotations[which], { x: 0.5, y: top });
    });
  });
  return result;
}
"""
"""`stacked(layout, isNarrow(layout, width))` has its panels one below the other where there is no room beside."""
_DRAW_JS = """
function drawFigure(plotly, node, figure) {
  node.simkoFigure = figure;
  node.simkoNarrow = isNarrow(figure.layout, node.clientWidth);
  const layout = stacked(figure.layout, node.simkoNarrow);
  node.style.minHeight = layout.height + "px";
  layout.font = { ...layout.font, family: getComputedStyle(node).fontFamily };
  return plotly.react(node, figure.data, layout, plotlyConfig).then(() => {
    wholeNames(node);
    if (node.simkoWatched) return;
    node.simkoWatched = true;
    node.on("plotly_afterplot", () => wholeNames(node));
    new ResizeObserver(() => {
      const drawn = node.simkoFigure;
      if (isNarrow(drawn.layout, node.clientWidth) !== node.simkoNarrow) drawFigure(plotly, node, drawn);
    }).observe(node);
  });
}
"""
FIGURE_JS = _CONFIG_JS + _WHOLE_NAMES_JS + _STACKED_JS + _DRAW_JS
"""`drawFigure(Plotly, node, {data, layout})` draws a figure, or updates the one that is there."""
