"""The dashboard in a real Chromium while a run is being written."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from simko.store.demo.small_run import demonstration_steps, write_demonstration_run

CHART = ".js-plotly-plot .main-svg"
HEADINGS = {"Push": "What pushes Λ(k)", "Health": "Health of the log"}  # where not the link's words
BUTTONS = {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}
TITLES = "[...document.querySelectorAll('.modebar-btn')].map((button) => button.dataset.title)"
LONG = "a-run-whose-name-is-longer-than-there-is-room-for-in-any-legend"
WATCH = """() => {
  window.plots = [...document.querySelectorAll('.js-plotly-plot')];
  window.gone = window.frames_seen = 0;
  window.faintest = 1;
  const look = () => {
    window.frames_seen += 1;
    for (const plot of window.plots) {
      for (let node = plot; node instanceof Element; node = node.parentNode ?? node.host) {
        window.faintest = Math.min(window.faintest, Number(getComputedStyle(node).opacity));
      }
    }
    requestAnimationFrame(look);
  };
  look();
  window.watcher?.disconnect();
  window.watcher = new MutationObserver((changes) => changes.forEach((change) => change.removedNodes.forEach((node) => {
    window.gone += window.plots.filter((plot) => node === plot || node.contains?.(plot)).length;
  })));
  window.watcher.observe(document.body, { childList: true, subtree: true });
}"""
"""Counts, from now on, how often any figure of the page was taken away, and how faint it was drawn in any frame."""
DATA = "JSON.stringify([...document.querySelectorAll('.js-plotly-plot')].map((plot) => plot.data))"
LAST_STEP = "Math.max(...document.querySelector('.js-plotly-plot').data[0].x)"

pytestmark = pytest.mark.browser


class Writer:
    """Appends a step to a run whenever it is told to, or on its own until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self._steps = demonstration_steps(folder, name="live", steps=500, responses=8, flush_seconds=0.0)
        self.step = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def append(self) -> None:
        self.step = next(self._steps)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._go)
        self._thread.start()

    def _go(self) -> None:
        while not self._stop.wait(0.3):
            self.append()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._steps.close()


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Start the dashboard on a folder; returns its address."""
    home = tmp_path_factory.mktemp("home")
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "simko.cli.simko", "dashboard", str(folder), f"--port={port}", "--headless"]
        log = home / f"{port}.log"
        own = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
        with log.open("wb") as output:
            server = subprocess.Popen(command, stdout=output, stderr=output, cwd=home, env=own)
        started.append(server)
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health")
                return address
            except OSError:
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
        raise AssertionError("the dashboard did not start: " + log.read_text())

    def stop_last() -> None:
        started[-1].terminate()
        started[-1].wait(20)

    start.stop_last = stop_last
    yield start
    for server in started:
        server.terminate()
    for server in started:
        server.wait(20)


@pytest.fixture(scope="module")
def done(serve, tmp_path_factory):
    """The address of a dashboard on a run that is done."""
    runs = tmp_path_factory.mktemp("done")
    write_demonstration_run(runs, name="done", steps=6, responses=16)
    write_demonstration_run(runs, name=LONG, steps=6, responses=16)
    return serve(runs)


@pytest.fixture
def page(browser):
    """A page that must end without an error in its console."""
    page = browser.new_page(viewport={"width": 1320, "height": 900})
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    page.close()
    assert errors == []


def test_a_run_is_followed_without_flicker_and_zoom_stays(serve, page, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    page.goto(serve(runs))
    page.get_by_text("simko-train --probe").wait_for()

    writer = Writer(runs)
    try:
        for _ in range(4):
            writer.append()
        page.get_by_test_id("stMultiSelect").get_by_text("live", exact=True).wait_for()  # it appears by itself
        page.get_by_role("link", name="Λ(k) over steps").click()
        page.wait_for_selector(CHART)
        page.wait_for_function(f"{LAST_STEP} >= 3")
        page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length === 2")
        page.evaluate(WATCH)
        page.evaluate("window.plot = window.plots[0]")
        before = page.evaluate(LAST_STEP)
        writer.start()
        page.wait_for_function(f"{LAST_STEP} > {before + 1}")

        # Zoom with the mouse, as a reader does, then let more steps arrive.
        plot = page.locator(".js-plotly-plot .nsewdrag").first
        box = plot.bounding_box()
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
        page.mouse.up()
        page.wait_for_function("plot.layout.xaxis.autorange === false")
        zoomed = page.evaluate("[...plot.layout.xaxis.range, ...plot.layout.yaxis.range]")
        now = page.evaluate(LAST_STEP)
        page.wait_for_function(f"{LAST_STEP} > {now + 8}")

        assert page.evaluate("[...plot.layout.xaxis.range, ...plot.layout.yaxis.range]") == zoomed
        assert page.evaluate("plot === document.querySelector('.js-plotly-plot') && plot.isConnected")
        assert page.evaluate("[window.plots.length, window.gone, window.faintest]") == [2, 0, 1]
    finally:
        writer.stop()


@pytest.mark.slow
def test_no_figure_of_any_page_is_dimmed_or_made_anew(serve, page, tmp_path):
    writer = Writer(tmp_path / "runs")
    try:
        for _ in range(4):
            writer.append()
        page.goto(serve(tmp_path / "runs"))
        writer.start()
        for name, figures in (("pass@K", 2), ("Entropy", 2), ("Push", 2), ("Health", 1)):
            page.get_by_role("link", name=name, exact=True).click()
            page.get_by_role("heading", level=2, name=HEADINGS.get(name, name)).first.wait_for()
            page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .main-svg').length >= 2 * {figures}")
            page.evaluate(WATCH)
            if name == "pass@K":  # which is measured now and then
                page.wait_for_timeout(4000)
            for _ in range(0 if name == "pass@K" else 2):  # refreshes that bring something
                page.evaluate(f"window.before = {DATA}")
                page.wait_for_function(f"{DATA} !== window.before")
            assert page.evaluate("[window.plots.length, window.gone, window.faintest]") == [figures, 0, 1], name
            assert page.evaluate("window.frames_seen") > 20
    finally:
        writer.stop()


def test_every_page_draws_and_a_token_can_be_asked(done, page):
    page.goto(done)
    page.get_by_role("heading", name="What was recorded").wait_for()
    for name in ("Λ(k) over steps", "pass@K", "Concentration", "Entropy", "Push", "Health", "One response"):
        page.get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", level=2, name=HEADINGS.get(name, name)).first.wait_for()
        page.wait_for_selector(CHART)
        assert page.locator(".stException").count() == 0
        assert set(page.evaluate(TITLES)) == BUTTONS

    token = page.locator(".simko-strip .token").nth(2)
    token.click()
    page.get_by_text("Position 2: entropy").wait_for()
    assert "chosen" in token.get_attribute("class")
    assert "rank" in page.locator(".simko-tip").text_content()
    assert page.evaluate("document.querySelector('.js-plotly-plot').data[0].text.join().includes('sampled')")


@pytest.mark.slow
def test_the_first_page_opens_by_its_address(done, browser):
    page = browser.new_page()  # Streamlit asks for files below the address first, which is an error in the console
    page.set_default_timeout(60_000)
    page.goto(f"{done}/runs")
    page.get_by_role("heading", name="What was recorded").wait_for()
    assert page.get_by_text("Page not found").count() == 0
    page.close()


@pytest.mark.slow
def test_a_narrow_window_stacks_panels_and_a_shortened_name_is_told_in_full(done, browser):
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.set_default_timeout(60_000)
    page.goto(f"{done}/lambda")
    page.wait_for_selector(CHART)
    page.wait_for_function("document.querySelectorAll('.legend .traces title').length > 0")
    assert LONG in page.evaluate("[...document.querySelectorAll('.legend .traces title')].map((t) => t.textContent)")
    assert LONG not in page.evaluate("document.querySelector('.legend .legendtext').textContent")
    boxes = page.evaluate(
        """() => [...document.querySelector('.js-plotly-plot').querySelectorAll('.nsewdrag, .annotation-text')]
            .map((node) => node.getBoundingClientRect()).map(({ x, y, width, height }) => ({ x, y, width, height }))"""
    )
    assert len(boxes) == 6  # three panels and their titles
    for place, one in enumerate(boxes):
        assert one["x"] >= 0 and one["x"] + one["width"] <= 400
        for other in boxes[place + 1 :]:
            apart = one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1
            assert apart, (one, other)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400

    page.set_viewport_size({"width": 1320, "height": 800})
    page.wait_for_function(
        "new Set([...document.querySelector('.js-plotly-plot').querySelectorAll('.nsewdrag')]"
        ".map((node) => Math.round(node.getBoundingClientRect().y))).size === 1"
    )
    page.close()


@pytest.mark.slow
def test_a_server_that_is_gone_is_said_to_be_gone(serve, browser, tmp_path):
    write_demonstration_run(tmp_path, name="run", steps=2, responses=8)
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(serve(tmp_path))
    page.get_by_role("heading", name="What was recorded").wait_for()
    serve.stop_last()
    page.get_by_text("The dashboard's server is gone").wait_for()
    assert page.get_by_text(f"simko dashboard {tmp_path}").count() >= 1
    assert page.get_by_text("connected to the internet").count() == 0
    page.close()


def test_the_reader_of_a_response_is_left_alone_while_steps_arrive(serve, page, tmp_path):
    writer = Writer(tmp_path / "runs")
    try:
        for _ in range(3):
            writer.append()
        page.goto(serve(tmp_path / "runs"))
        page.get_by_role("link", name="One response").click()
        token = page.locator(".simko-strip .token").nth(1)
        token.click()
        page.get_by_text("Position 1: entropy").wait_for()
        read = [page.locator(".simko-strip").inner_text(), page.get_by_role("heading", level=3).inner_text()]

        for _ in range(4):
            writer.append()
        newest = page.get_by_role("option", name=str(writer.step), exact=True)
        for _ in range(60):  # the list of steps is renewed by the next refresh; it is there when opened after that
            page.get_by_test_id("stMain").get_by_test_id("stSelectbox").nth(1).locator("input").click()
            page.wait_for_timeout(500)
            if newest.count():
                break
            page.keyboard.press("Escape")
        assert newest.count() == 1
        page.keyboard.press("Escape")
        assert [page.locator(".simko-strip").inner_text(), page.get_by_role("heading", level=3).inner_text()] == read
        assert "chosen" in token.get_attribute("class")
        assert page.get_by_text("Position 1: entropy").count() == 1
    finally:
        writer.stop()


def test_text_of_charts_is_legible_in_light_and_dark(done, browser):
    for scheme in ("light", "dark"):
        _assert_legible(browser, done, scheme)


def _assert_legible(browser, address: str, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.set_default_timeout(60_000)
    page.goto(f"{address}/lambda")
    page.wait_for_selector(CHART)
    text, background = page.evaluate(
        """() => [getComputedStyle(document.querySelector('.xtick text')).fill,
                  getComputedStyle(document.querySelector('.stApp')).backgroundColor]"""
    )
    page.close()
    light = [
        sum(int(float(part)) for part in colour.strip("rgba()").split(",")[:3]) / 765 for colour in (text, background)
    ]
    assert abs(light[0] - light[1]) > 0.6
    assert (light[1] > 0.5) == (scheme == "light")
