"""One response as a strip of tokens, coloured by a statistic; a click on a token says which.

The texts come from models and are trusted in nothing: they travel as JSON and are set as `textContent`, never as HTML.
"""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from .names import literal, shortened

COLOUR_BY = {
    "surprise": "surprise of the sampled token, −log p (nats)",
    "rank": "rank of the sampled token",
    "entropy": "entropy H of the distribution (nats)",
}

_LONGEST = 200
"""Characters of a token that the strip shows; the candidates below it tell the rest."""

_HTML = '<div class="simko-strip" role="listbox" aria-label="tokens"></div><div class="simko-tip" hidden></div>'

_JS = """
export default function ({ data, parentElement, setStateValue }) {
  const strip = parentElement.querySelector(".simko-strip");
  const tip = parentElement.querySelector(".simko-tip");
  const choose = (place) => {
    strip.querySelectorAll(".token").forEach((other, i) => other.classList.toggle("chosen", i === place));
    setStateValue("position", place);
  };
  strip.replaceChildren(...data.tokens.map((token, place) => {
    const span = document.createElement("span");
    span.className = "token" + (token.forking ? " forking" : "") + (place === data.chosen ? " chosen" : "");
    span.textContent = token.text;
    span.tabIndex = 0;
    span.setAttribute("role", "option");
    span.style.setProperty("--shade", token.shade + "%");
    span.onclick = () => choose(place);
    span.onkeydown = (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(place); }
    };
    span.onmouseenter = span.onfocus = () => {
      tip.textContent = token.tip;
      tip.hidden = false;
      const box = span.getBoundingClientRect(), frame = strip.getBoundingClientRect();
      tip.style.left = Math.max(0, Math.min(box.left - frame.left, frame.width - 240)) + "px";
      tip.style.top = (box.bottom - frame.top + 6) + "px";
    };
    span.onmouseleave = span.onblur = () => { tip.hidden = true; };
    return span;
  }));
}
"""

_CSS = """
:host, .simko-strip { font-family: var(--st-code-font, monospace); font-size: 15px; color: var(--st-text-color); }
.simko-strip {
  line-height: 2.1; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem; overflow-y: auto; padding: 4px;
}
.token {
  cursor: pointer; padding: 3px 4px; margin: 0 1px; border-radius: 4px; display: inline-block; min-width: 0.7em;
  text-align: center;
  background: color-mix(in srgb, #e0762a var(--shade), color-mix(in srgb, var(--st-text-color) 6%, transparent));
}
.token.forking { border-bottom: 3px solid #8a63d2; border-bottom-left-radius: 0; border-bottom-right-radius: 0; }
.token:hover, .token:focus-visible { outline: 1px solid var(--st-text-color); }
.token.chosen { outline: 2px solid var(--st-primary-color); }
.simko-tip {
  position: absolute; z-index: 10; pointer-events: none; white-space: pre; padding: 6px 9px; border-radius: 6px;
  font-size: 13px;
  background: var(--st-background-color); color: var(--st-text-color); border: 1px solid var(--st-border-color);
  font-family: var(--st-code-font, monospace); min-width: 220px;
}
"""

_strip = st.components.v2.component("simko.token_strip", html=_HTML, js=_JS, css=_CSS)


def token_text(text: object, token_id: int) -> str:
    """A token to look at: its text with line ends and hidden characters shown, or its id if no vocabulary."""
    if not isinstance(text, str):
        return f"#{token_id}"
    return literal(text.replace("\n", "⏎").replace("\t", "⇥")) or "∅"


def shade(row: pd.Series, by: str) -> float:
    """How strongly a token is coloured, 0 to 65 per cent: unsurprising ones hardly, whatever the scale of the rest."""
    if by == "rank":
        strength = math.log2(max(int(row["rank"]), 1)) / 5
    else:
        strength = (-float(row["logprob"]) if by == "surprise" else float(row["entropy"])) / 3
    return round(65 * min(max(strength, 0.0), 1.0), 1) if math.isfinite(strength) else 65.0


def token_strip(rows: pd.DataFrame, *, by: str, key: str) -> int:
    """Draw the tokens and return the index of the one chosen (the first forking one until there is a click).

    Args:
        rows: as of the view `tokens`, one response, by position.
        by: one of `COLOUR_BY`.
        key: of the response, so that another one starts unchosen.
    """
    forking = rows["forking"].to_numpy().nonzero()[0]
    start = int(forking[0]) if len(forking) else 0
    known = st.session_state.get(key) or {}
    position = known.get("position")
    chosen = int(position) if position is not None and 0 <= int(position) < len(rows) else start
    tokens = [
        {
            "text": shortened(token_text(row["text"], int(row["token_id"])), _LONGEST),
            "forking": bool(row["forking"]),
            "shade": shade(row, by),
            "tip": f"position {row['position']}   rank {row['rank']}\nlog p   {row['logprob']:.3f} nats\n"
            f"entropy {row['entropy']:.3f} nats{'   forking' if row['forking'] else ''}",
        }
        for _, row in rows.iterrows()
    ]
    result = _strip(key=key, data={"tokens": tokens, "chosen": chosen}, on_position_change=lambda: None)
    position = getattr(result, "position", None)
    return int(position) if position is not None and 0 <= int(position) < len(rows) else chosen
