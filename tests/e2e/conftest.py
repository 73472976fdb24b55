"""A short probed run of the built-in task, made by the command itself, and a Chromium, for the tests here."""

from __future__ import annotations

import shutil

import pytest
from commands import SHORT, command

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """(folder, finished process) of `simko-train --probe --run_name first …`."""
    folder = tmp_path_factory.mktemp("trained")
    done = command("train", "--probe", "--run_name", "first", *SHORT, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium; get it with: apt-get install chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright; get it with: pip install 'simko[browser]'"
    )
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        launched.close()
