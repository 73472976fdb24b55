from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from simko.dashboard.components import charts, panels
from simko.store.layout.schema import ENTROPY_BIN_WIDTH, ENTROPY_BINS

LOOKS = {"a": panels.look(0), "b": panels.look(1)}


def values(array) -> list:
    return list(np.asarray(array, float))


def test_lambda_has_a_panel_a_rank_and_a_colour_a_run():
    frame = pd.DataFrame(
        [(run, step, k, -k - step / 10, 8) for run in "ab" for k in (1, 2, 3) for step in (1, 2, 3)],
        columns=["run", "step", "k", "lambda_k", "n_responses"],
    )
    figure = charts.lambda_over_steps(frame, LOOKS)
    assert [note.text for note in figure.layout.annotations] == ["Λ(1)", "Λ(2)", "Λ(3)"]
    assert len(figure.data) == 6
    assert {trace.line.color for trace in figure.data if trace.name == "b"} == {LOOKS["b"].css}
    assert [trace.name for trace in figure.data if trace.showlegend] == ["a", "b"]
    assert values(figure.data[0].y) == [-1.1, -1.2, -1.3]
    assert "nats" in figure.layout.yaxis.title.text
    assert figure.layout.xaxis.title.text == "optimizer step"


def test_one_step_is_a_point_one_can_see():
    frame = pd.DataFrame({"run": ["a"], "step": [1], "k": [1], "lambda_k": [-1.0], "n_responses": [8]})
    assert charts.lambda_over_steps(frame, LOOKS).data[0].mode == "lines+markers"


def test_a_break_of_meaning_is_a_dashed_line_in_every_panel():
    frame = pd.DataFrame(
        [(run, step, k, -k, 8) for run in "ab" for k in (1, 2) for step in (1, 2, 3)],
        columns=["run", "step", "k", "lambda_k", "n_responses"],
    )
    breaks = pd.DataFrame({"run": ["b"], "step": [2], "change": ["temperature 1.0 → 0.5"]})
    figure = panels.mark_breaks(charts.lambda_over_steps(frame, LOOKS), breaks, LOOKS)
    lines = [shape for shape in figure.layout.shapes if shape.line.width]
    assert {(line.x0, line.x1, line.line.color, line.line.dash) for line in lines} == {
        (2.5, 2.5, LOOKS["b"].css, "dash")
    }
    assert len({line.xref for line in lines}) == len(lines) == 2
    assert [note.text for note in figure.layout.annotations] == ["Λ(1)", "Λ(2)", "temperature 1.0 → 0.5"]


def test_profile_dots_the_first_step():
    frame = pd.DataFrame(
        [("a", when, step, k, 0.5**k, 0.4**k) for when, step in (("first", 1), ("latest", 9)) for k in (1, 2)],
        columns=["run", "when", "step", "k", "probability", "forking_probability"],
    )
    figure = charts.rank_profile(frame, LOOKS)
    assert [(t.line.dash, t.marker.symbol, t.showlegend) for t in figure.data[:2]] == [
        ("dot", "circle-open", False),
        ("solid", "circle", True),
    ]
    assert values(figure.data[-1].y) == [0.4, 0.4**2]
    assert figure.layout.yaxis.type == "log"


def test_pass_curves_have_power_of_two_ticks_and_bands_where_there_is_an_interval():
    frame = pd.DataFrame(
        {
            "run": "a", "panel": "heldout", "when": "latest", "step": 4, "k": [1, 2, 4, 8],
            "pass_at_k": [0.1, 0.2, 0.3, 0.4], "low": [0.0, 0.1, 0.2, math.nan], "high": [0.2, 0.3, 0.4, math.nan],
        }
    )  # fmt: skip
    figure = charts.pass_curves(frame, LOOKS)
    band, line = figure.data
    assert band.fill == "toself" and values(band.y) == [0.2, 0.3, 0.4, 0.2, 0.1, 0.0]
    assert values(line.x) == [1, 2, 4, 8]
    assert figure.layout.xaxis.type == "log" and list(figure.layout.xaxis.tickvals) == [1, 2, 4, 8]
    without = charts.pass_curves(frame.assign(low=math.nan, high=math.nan), LOOKS)
    assert len(without.data) == 1


def test_entropy_heatmap_shows_shares_up_to_the_last_used_bin():
    histogram = np.zeros(ENTROPY_BINS, int)
    histogram[[0, 9]] = [75, 25]
    frame = pd.DataFrame({"run": ["a", "a"], "step": [1, 2], "histogram": [histogram, histogram * 0]})
    figure = charts.entropy_heatmap(frame, LOOKS)
    (heat,) = figure.data
    assert np.asarray(heat.z).shape == (10, 2)
    np.testing.assert_allclose(np.asarray(heat.customdata)[[0, 9], 0], [0.75, 0.25])
    assert np.asarray(heat.customdata)[:, 1].sum() == 0
    np.testing.assert_allclose(heat.y[9], 9.5 * ENTROPY_BIN_WIDTH)


def test_entropy_heatmaps_share_their_axis_only_where_both_can_be_read():
    histogram = np.zeros(ENTROPY_BINS, int)
    histogram[:10] = 1
    for last, shared in ((20, True), (80, False)):
        other = np.where(np.arange(ENTROPY_BINS) < last, 1, 0)
        frame = pd.DataFrame({"run": ["a", "b"], "step": [1, 1], "histogram": [histogram, other]})
        figure = charts.entropy_heatmap(frame, LOOKS)
        assert (figure.layout.yaxis2.matches == "y") == shared
        assert figure.layout.yaxis.range[1] == pytest.approx(ENTROPY_BIN_WIDTH * (last if shared else 10))


def test_pass_over_steps_has_a_panel_a_k():
    frame = pd.DataFrame(
        [("a", step, k, 0.99 + step / 1000, 0.98, 1.0) for k in (1, 8) for step in (0, 5)],
        columns=["run", "step", "k", "pass_at_k", "low", "high"],
    )
    figure = charts.pass_over_steps(frame, LOOKS)
    assert [note.text for note in figure.layout.annotations] == ["pass@1", "pass@8"]
    assert values(figure.data[1].x) == [0, 5] and values(figure.data[0].y) == [1, 1, 0.98, 0.98]
    assert figure.layout.yaxis.tickformat == ".2~%"  # 99 % and 99.5 % are not both "99 %"


def test_candidates_escape_what_a_model_wrote_and_keep_number_tokens_apart():
    frame = pd.DataFrame(
        {
            "rank": [1, 2, 3], "text": ["<b>x</b>", "1", " \n"], "probability": [0.6, 0.3, 0.00004],
            "sampled": [False, True, False],
        }
    )  # fmt: skip
    figure = charts.candidates(frame, LOOKS["a"].css)
    labels = [str(label).split()[-1] for label in figure.data[0].y]
    assert labels == ["<b>&lt;b&gt;x&lt;/b&gt;</b>", "<b>1</b>", "<b>␣⏎</b>"]
    assert figure.layout.yaxis.type == "category"
    assert list(figure.data[0].text) == ["60.0%", "30.0% ← sampled", "4e-5"]


def test_shares_stay_between_nothing_and_all_and_an_empty_panel_too():
    frame = pd.DataFrame({"run": "a", "step": [1, 2], "entropy": [1.0, 1.0], "rank_1": [math.nan, math.nan]})
    axis = charts.entropy_means(frame, LOOKS).layout.yaxis2
    assert axis.range == (0, 1)  # and not Plotly's 0 to 400 %
    axis = charts.entropy_means(frame.assign(rank_1=1.0), LOOKS).layout.yaxis2
    assert axis.range is None and axis.autorangeoptions.clipmin <= 0 and 1 <= axis.autorangeoptions.clipmax < 1.1


def test_small_numbers_are_not_in_micro_and_hover_has_the_units_of_the_axis():
    frame = pd.DataFrame({"run": ["a"] * 3, "step": [1, 2, 3], "k": 1, "verdict": "right", "y": [-2e-4, 0, 1e-4]})
    figure = charts.push_over_steps(frame, LOOKS)
    assert figure.layout.yaxis.exponentformat == "power" and figure.layout.yaxis.minexponent == 4
    assert "%{y:.3~g}" in figure.data[0].hovertemplate  # -0.0002, where four decimals would say -0.0000
    wrong = charts.push_over_steps(frame.assign(verdict="wrong"), LOOKS).data[0]
    assert wrong.showlegend and wrong.line.dash == "dot"  # the run is named even if only wrong answers are chosen
    passes = frame.assign(pass_at_k=0.5, low=math.nan, high=math.nan, when="latest", panel="")
    for figure in (charts.pass_over_steps(passes, LOOKS), charts.pass_curves(passes, LOOKS)):
        assert "%" in figure.layout.yaxis.tickformat and "%{y:.1%}" in figure.data[0].hovertemplate


def test_a_long_candidate_is_cut():
    frame = pd.DataFrame({"rank": [1], "text": ["x" * 10_000], "probability": [1.0], "sampled": [True]})
    assert len(charts.candidates(frame, LOOKS["a"].css).data[0].y[0]) < 80


def test_figures_are_json_without_colours_of_a_theme():
    frame = pd.DataFrame({"run": ["a"], "step": [1], "x": [-1.0], "y": [0.5]})
    figure = json.loads(charts.concentration_scatter(frame, LOOKS, x_title="Λ(1) (nats)", y_title="pass@8").to_json())
    assert figure["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
    assert "color" not in figure["layout"]["font"]


def test_figures_of_the_same_panels_share_nothing():
    given = (["one", "two"], "nats", panels.STEP)
    untouched = panels.panels(*given)
    drawn = panels.panels(*given)
    panels.line(drawn, 1, "a", [1, 2, 3], [1.0, 2.0, 3.0], LOOKS)
    drawn.update_xaxes(dtick=1)
    drawn.update_layout(height=77)
    drawn.layout.annotations[0].text = "three"
    assert drawn.data[0].xaxis == "x2"
    assert panels.panels(*given).to_dict() == untouched.to_dict()
    assert untouched.to_dict() == panels._empty_panels.__wrapped__(tuple(given[0]), *given[1:], 330).to_dict()
