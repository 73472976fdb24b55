"""Names and texts from runs are shown as they are, in tables, menus and figures, and no longer than there is room."""

from __future__ import annotations

import html
import json
import re
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simko.dashboard.components import charts, names, panels, plotly_page
from simko.dashboard.components.token_strip import token_text
from simko.dashboard.components.view import plain, style
from simko.dashboard.report import Block, Report, to_html

SPOOF = "\u202eevil"  # reads "live"
HIDDEN = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u200b\ufeff\u2028\x07"


def test_what_turns_directions_or_is_invisible_is_shown_by_its_number():
    assert names.literal(SPOOF) == "⟨U+202E⟩evil"
    for sign in HIDDEN:
        for text in (names.literal(sign), names.literal(sign, running=True), token_text(sign, 1), plain(sign)):
            assert sign not in text and f"U+{ord(sign):04X}" in text
    assert names.literal("Λ(k) – naïve 日本 👍") == "Λ(k) – naïve 日本 👍"
    assert names.literal("a\n\u200cb", running=True) == "a\n\u200cb"
    assert names.literal("a\u200db") == "a⟨U+200D⟩b"  # a name must not hide one


@given(st.text(max_size=200))
def test_a_shortened_name_fits_and_markup_is_read_back_as_the_name(name):
    shown = names.shortened(names.literal(name))
    assert len(shown) <= names.LONGEST
    assert html.unescape(names.label(name)) == shown
    read = html.unescape("".join(names.whole(name).split("<br>")))
    assert "".join(read.split()) == "".join(names.literal(name).split())
    for text in (names.label(name), names.whole(name)):
        assert not re.search(r"<(?!br>)|%\{", text)


def every_figure(run: str) -> list[dict]:
    """A figure of each kind that shows a run's name."""
    looks = {run: panels.look(0)}
    base = pd.DataFrame({"run": run, "step": [1, 2, 3], "k": 1, "x": 0.1, "y": 0.2, "push": 0.1, "shift": 0.1})
    figures = [
        charts.lambda_over_steps(base.assign(lambda_k=-1.0), looks),
        charts.concentration_scatter(base, looks, x_title="x", y_title="y"),
        charts.push_against_shift(base, looks),
        charts.entropy_heatmap(base.assign(histogram=[np.ones(4)] * 3), looks),
    ]
    breaks = pd.DataFrame({"run": [run], "step": [1], "change": [f"temperature {run}"]})
    panels.mark_breaks(figures[0], breaks, looks)
    return [json.loads(figure.to_json()) for figure in figures]


@pytest.mark.parametrize("run", ["<b>bold</b>", SPOOF, "%{x}&amp;", "r" * 190 + "<i>"])
def test_no_figure_takes_a_name_for_markup_or_lets_it_overprint(run):
    for figure in every_figure(run):
        shown = [text for trace in figure["data"] for text in (trace.get("name"), trace["hovertemplate"]) if text]
        shown += [note["text"] for note in figure["layout"].get("annotations", [])]
        for text in shown:
            assert not re.search(r"<(?!br>|extra></extra>|/extra>)", text)
            assert "\u202e" not in text and "%{x}&" not in text
        for trace in figure["data"]:
            assert len(html.unescape(trace.get("name") or "")) <= names.LONGEST
            if len(run) > names.LONGEST and trace.get("name"):
                assert trace["meta"] == run


def test_a_sidebar_tag_is_found_by_the_name_it_shows():
    assert "\u202e" not in style({SPOOF: 0}) and r"\27e8 U\2b 202E\27e9 evil" in style({SPOOF: 0})


def test_tables_and_reports_show_names_literally():
    table = names.literal_frame(pd.DataFrame({SPOOF: [SPOOF, None], "n": [1, 2]}))
    assert list(table.columns) == ["⟨U+202E⟩evil", "n"] and table.iloc[0, 0] == "⟨U+202E⟩evil"
    assert list(table["n"]) == [1, 2]
    page = to_html(Report(SPOOF, SPOOF, [Block(SPOOF, SPOOF, pd.DataFrame({SPOOF: [SPOOF]}))]))
    assert "\u202e" not in page and page.count("⟨U+202E⟩evil") >= 6


def test_forty_runs_all_look_different_and_no_more_than_eight_colours_are_used():
    looks = [panels.look(place) for place in range(40)]
    assert len({look.css for look in looks}) == 8 and len(set(looks)) == 40
    lines = [(look.css, look.dash) for look in looks]
    bars, points = [(look.css, look.pattern) for look in looks], [(look.css, look.symbol) for look in looks]
    assert len(set(lines)) == len(set(bars)) == len(set(points)) == 40


_DEUTAN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
_NORMAL = np.eye(3)
_PROTAN = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(css: str, sight=_NORMAL) -> np.ndarray:
    """CIE L*a*b* of a colour as somebody sees it (Machado et al. 2009 for the colour-blind)."""
    code = np.array([int(css[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    t = _XYZ @ np.clip(np.asarray(sight) @ light, 0, 1) / _XYZ.sum(1)
    x, y, z = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colours_can_be_told_apart_by_everyone():
    for (a, b), sight in product(combinations(panels.PALETTE, 2), (_NORMAL, _DEUTAN, _PROTAN)):
        assert np.linalg.norm(lab(a, sight) - lab(b, sight)) > 20, (a, b)


def test_a_ninth_run_is_dashed_and_shows_its_shape_here_and_there():
    frame = pd.DataFrame({"run": "i", "step": range(100), "k": 1, "lambda_k": -1.0})
    (trace,) = charts.lambda_over_steps(frame, {"i": panels.look(8)}).data
    assert trace.line.dash == "dash" and trace.marker.symbol == "square"
    assert trace.mode == "lines+markers" and 0 < trace.marker.maxdisplayed < 20


def test_every_button_is_listed_and_none_uploads():
    assert plotly_page.CONFIG["modeBarButtons"] == [list(plotly_page.BUTTONS)]
    assert not {"sendChartToCloud", "sendDataToCloud", "editInChartStudio"} & set(plotly_page.BUTTONS)
    assert plotly_page.CONFIG["plotlyServerURL"] == ""
    assert plotly_page.FIGURE_JS in to_html(Report("t"))
