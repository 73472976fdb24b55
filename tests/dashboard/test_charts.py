from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from simko.dashboard.components import charts, panels
from simko.store.layout.schema import ENTROPY_BIN_WIDTH, ENTROPY_BINS

COLOURS = {"a": panels.colour(0), "b": panels.colour(1)}


def values(array) -> list:
    return list(np.asarray(array, float))


def test_lambda_has_a_panel_a_rank_and_a_colour_a_run():
    frame = pd.DataFrame(
        [(run, step, k, -k - step / 10, 8) for run in "ab" for k in (1, 2, 3) for step in (1, 2, 3)],
        columns=["run", "step", "k", "lambda_k", "n_responses"],
    )
    figure = charts.lambda_over_steps(frame, COLOURS)
    assert [note.text for note in figure.layout.annotations] == ["Λ(1)", "Λ(2)", "Λ(3)"]
    assert len(figure.data) == 6
    assert {trace.line.color for trace in figure.data if trace.name == "b"} == {COLOURS["b"]}
    assert [trace.name for trace in figure.data if trace.showlegend] == ["a", "b"]
    assert values(figure.data[0].y) == [-1.1, -1.2, -1.3]
    assert "nats" in figure.layout.yaxis.title.text
    assert figure.layout.xaxis.title.text == "optimizer step"


def test_one_step_is_a_point_one_can_see():
    frame = pd.DataFrame({"run": ["a"], "step": [1], "k": [1], "lambda_k": [-1.0], "n_responses": [8]})
    assert charts.lambda_over_steps(frame, COLOURS).data[0].mode == "lines+markers"


def test_profile_dots_the_first_step():
    frame = pd.DataFrame(
        [("a", when, step, k, 0.5**k, 0.4**k) for when, step in (("first", 1), ("latest", 9)) for k in (1, 2)],
        columns=["run", "when", "step", "k", "probability", "forking_probability"],
    )
    figure = charts.rank_profile(frame, COLOURS)
    assert [(t.line.dash, t.showlegend) for t in figure.data[:2]] == [("dot", False), ("solid", True)]
    assert values(figure.data[-1].y) == [0.4, 0.4**2]
    assert figure.layout.yaxis.type == "log"


def test_pass_curves_have_power_of_two_ticks_and_bands_where_there_is_an_interval():
    frame = pd.DataFrame(
        {
            "run": "a", "panel": "heldout", "when": "latest", "step": 4, "k": [1, 2, 4, 8],
            "pass_at_k": [0.1, 0.2, 0.3, 0.4], "low": [0.0, 0.1, 0.2, math.nan], "high": [0.2, 0.3, 0.4, math.nan],
        }
    )  # fmt: skip
    figure = charts.pass_curves(frame, COLOURS)
    band, line = figure.data
    assert band.fill == "toself" and values(band.y) == [0.2, 0.3, 0.4, 0.2, 0.1, 0.0]
    assert values(line.x) == [1, 2, 4, 8]
    assert figure.layout.xaxis.type == "log" and list(figure.layout.xaxis.tickvals) == [1, 2, 4, 8]
    without = charts.pass_curves(frame.assign(low=math.nan, high=math.nan), COLOURS)
    assert len(without.data) == 1


def test_entropy_heatmap_shows_shares_up_to_the_last_used_bin():
    histogram = np.zeros(ENTROPY_BINS, int)
    histogram[[0, 9]] = [75, 25]
    frame = pd.DataFrame({"run": ["a", "a"], "step": [1, 2], "histogram": [histogram, histogram * 0]})
    figure = charts.entropy_heatmap(frame, COLOURS)
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
        figure = charts.entropy_heatmap(frame, COLOURS)
        assert (figure.layout.yaxis2.matches == "y") == shared
        assert figure.layout.yaxis.range[1] == pytest.approx(ENTROPY_BIN_WIDTH * (last if shared else 10))


def test_pass_over_steps_has_a_panel_a_k():
    frame = pd.DataFrame(
        [("a", step, k, 0.99 + step / 1000, 0.98, 1.0) for k in (1, 8) for step in (0, 5)],
        columns=["run", "step", "k", "pass_at_k", "low", "high"],
    )
    figure = charts.pass_over_steps(frame, COLOURS)
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
    figure = charts.candidates(frame, COLOURS["a"])
    labels = [str(label).split()[-1] for label in figure.data[0].y]
    assert labels == ["<b>&lt;b&gt;x&lt;/b&gt;</b>", "<b>1</b>", "<b>␣⏎</b>"]
    assert figure.layout.yaxis.type == "category"
    assert list(figure.data[0].text) == ["60.0%", "30.0% ← sampled", "4e-5"]


@pytest.mark.parametrize("n", [1, 2, 12])
def test_every_run_of_twelve_has_a_valid_colour(n):
    assert panels.faint(panels.colour(n), 0.5).startswith("rgba(")


def test_figures_are_json_without_colours_of_a_theme():
    frame = pd.DataFrame({"run": ["a"], "step": [1], "x": [-1.0], "y": [0.5]})
    figure = json.loads(charts.concentration_scatter(frame, COLOURS, x_title="Λ(1) (nats)", y_title="pass@8").to_json())
    assert figure["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
    assert "color" not in figure["layout"]["font"]


def test_figures_of_the_same_panels_share_nothing():
    given = (["one", "two"], "nats", panels.STEP)
    untouched = panels.panels(*given)
    drawn = panels.panels(*given)
    panels.line(drawn, 1, "a", [1, 2, 3], [1.0, 2.0, 3.0], COLOURS)
    drawn.update_xaxes(dtick=1)
    drawn.update_layout(height=77)
    drawn.layout.annotations[0].text = "three"
    assert drawn.data[0].xaxis == "x2"
    assert panels.panels(*given).to_dict() == untouched.to_dict()
    assert untouched.to_dict() == panels._empty_panels.__wrapped__(tuple(given[0]), *given[1:], 330).to_dict()
