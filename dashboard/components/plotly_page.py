"""What Plotly may do on a page, the same on the dashboard and in a report: its buttons, and names shown whole.

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

CONFIG_JS = f"const plotlyConfig = {json.dumps(CONFIG)};"
WHOLE_NAMES_JS = """
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
