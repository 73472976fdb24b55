"""A Plotly figure that is updated in place: zoom, hover and the page's layout survive every refresh.

`st.plotly_chart` builds the element anew whenever the data change; this one calls `Plotly.react` on a DOM node that
stays. Plotly's script is served from `static/` beside the script that Streamlit runs (its option
`server.enableStaticServing`): `simko dashboard` runs one in the user's cache, so that nothing is written beside the
package. Where that folder cannot be written, `st.plotly_chart` takes over and a line on the page says so.

Invariants: text and grid follow the page's theme by CSS, so figures carry no colours of their own for them; zoom is
kept while the `key` is the same.
"""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

from .plotly_page import CONFIG, FIGURE_JS
from .plotly_script import put_script

_static = Path(__file__).parents[1] / "static"

_JS = (
    FIGURE_JS
    + """
function load(url) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  window.simkoPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(url, document.baseURI).href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("cannot load " + script.src));
    document.head.appendChild(script);
  });
  return window.simkoPlotly;
}
export default function ({ data, parentElement }) {
  let node = parentElement.querySelector(".simko-chart");
  if (!node) {
    node = document.createElement("div");
    node.className = "simko-chart";
    parentElement.appendChild(node);
  }
  // As long as nothing has changed there is nothing to draw.
  if (node.simkoDrawn !== data.figure) {
    node.simkoDrawn = data.figure;
    const figure = JSON.parse(data.figure);
    load(data.script)
      .then((plotly) => drawFigure(plotly, node, figure))
      .catch((error) => { node.textContent = String(error); });
  }
  return () => { if (window.Plotly && !node.isConnected) window.Plotly.purge(node); };
}
"""
)

_CSS = """
.simko-chart { width: 100%; color: var(--st-text-color); font-family: var(--st-font); }
.simko-chart .main-svg { background: transparent !important; }
.simko-chart text { fill: var(--st-text-color) !important; }
.simko-chart .hoverlayer .hovertext text, .simko-chart .heatmaplayer text { fill: revert-layer; }
.simko-chart .gridlayer path, .simko-chart .zerolinelayer path {
  stroke: color-mix(in srgb, var(--st-text-color) 40%, transparent) !important;
}
.simko-chart .xlines-above, .simko-chart .ylines-above {
  stroke: color-mix(in srgb, var(--st-text-color) 40%, transparent) !important;
}
.simko-chart .hoverlayer .hovertext path, .simko-chart .hoverlayer .legend .bg {
  fill: var(--st-background-color) !important; stroke: var(--st-border-color) !important;
}
.simko-chart .modebar-group { background: transparent !important; }
.simko-chart .modebar-btn path { fill: color-mix(in srgb, var(--st-text-color) 45%, transparent) !important; }
"""

_chart = st.components.v2.component("simko.live_chart", js=_JS, css=_CSS, isolate_styles=False)


def serve_from(folder: Path) -> None:
    """Say which folder Streamlit serves: `static/` beside the script it runs."""
    global _static
    _static = folder


@st.cache_resource(show_spinner=False)
def plotly_script(folder: Path) -> tuple[str | None, str]:
    """Put Plotly's script into `folder` if it is not there.

    Returns:
        Its address below the app and "", or None and why there is none.
    """
    try:
        script = put_script(folder)
    except OSError as error:
        return None, f"cannot write {error.filename or folder}: {error.strerror}"
    return f"app/static/{script.name}", ""


def live_chart(figure: go.Figure, *, key: str) -> None:
    """Draw a figure, or update the one drawn under the same key."""
    figure.update_layout(uirevision=key)
    script, why = plotly_script(_static)
    if script is None:
        st.plotly_chart(figure, key=key, config=CONFIG)
        st.caption(f"Zoom is lost when new steps arrive ({why}).")
    else:
        _chart(key=key, data={"figure": figure.to_json(), "script": script}, height="content")
