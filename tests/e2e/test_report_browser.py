"""The report in a real browser: figures are drawn from the file alone, in light and dark, and as PNGs."""

from __future__ import annotations

import pytest
from simko.dashboard.report import run_report, to_html, write_images
from simko.store.demo.small_run import write_demonstration_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_demonstration_run(folder, name="grpo-run", method="grpo", steps=12)
    write_demonstration_run(folder, name="simko-run", steps=12)
    return run_report(folder)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_without_a_network(report, browser, tmp_path, scheme):
    path = tmp_path / "report.html"
    path.write_text(to_html(report), encoding="utf-8")
    context = browser.new_context(color_scheme=scheme, offline=True)
    page = context.new_page()
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path.as_uri())
    figures = sum(block.figure is not None for block in report.blocks)
    page.wait_for_function(f"document.querySelectorAll('.figure .main-svg').length >= {2 * figures}")
    assert not faults and asked == [path.as_uri()]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(18, 22, 28)") == (scheme == "dark")
    titles = set(page.evaluate("[...document.querySelectorAll('.modebar-btn')].map((node) => node.dataset.title)"))
    assert titles == {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}
    colour = page.evaluate("getComputedStyle(document.querySelector('.figure .xtick text')).fill")
    assert colour == page.evaluate("getComputedStyle(document.body).color")
    context.close()


def test_figures_as_pngs(report, tmp_path):
    some = type(report)(report.title, "", [b for b in report.blocks if b.figure is not None][:1])
    written = write_images(some, tmp_path / "png")
    assert [path.read_bytes()[:8] for path in written] == [b"\x89PNG\r\n\x1a\n"]
