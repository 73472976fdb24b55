"""`simko dashboard` serves the pages and writes nothing where the package is installed."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import simko.dashboard
from simko.cli.dashboard import command, script
from simko.store.errors import UsageError
from terminals import SIMKO, environment

PACKAGE = Path(next(iter(simko.dashboard.__path__)))


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture
def server(home, tmp_path):
    """(address, process) of the dashboard on the runs of `home`, its cache in `tmp_path`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = environment(XDG_CACHE_HOME=str(tmp_path / "cache"), HOME=str(tmp_path))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*SIMKO, "dashboard", "--port", str(port), "--headless"], cwd=home, env=settings, stdout=log, stderr=log
        )
    yield f"http://127.0.0.1:{port}", process
    process.terminate()
    process.wait(20)


def answer(address, process):
    deadline = time.monotonic() + 60
    while True:
        try:
            return urllib.request.urlopen(address).read()
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)


def test_it_serves_and_leaves_the_package_alone(server, tmp_path):
    address, process = server
    before = files_of(PACKAGE)
    assert answer(f"{address}/_stcore/health", process) == b"ok"
    served = tmp_path / "cache" / "simko"
    (plotly,) = served.glob("*/static/plotly-*.min.js")
    content = answer(f"{address}/app/static/{plotly.name}", process)
    assert b"plotly.js" in content[:200] and content == plotly.read_bytes()
    assert files_of(PACKAGE) == before
    assert (
        next(served.glob("*/.streamlit/config.toml")).read_bytes() == (PACKAGE / ".streamlit/config.toml").read_bytes()
    )


def test_the_copy_is_brought_up_to_date_and_otherwise_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    app = script()
    assert app.read_bytes() == (PACKAGE / "app.py").read_bytes() and app.is_relative_to(tmp_path)
    before = files_of(tmp_path)
    assert script() == app and files_of(tmp_path) == before
    app.write_text("raise SystemExit")
    script()
    assert app.read_bytes() == (PACKAGE / "app.py").read_bytes()


def test_where_the_cache_cannot_be_written_a_temporary_folder_serves(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert script().parent.parent == tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="set XDG_CACHE_HOME"):
        script()


def test_the_command_line_of_streamlit(tmp_path):
    words = command(tmp_path / "app.py", Path("my runs"), port=8600, headless=True)
    assert words[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert (
        "--server.port=8600" in words
        and "--server.headless=true" in words
        and words[-3:] == ["--", "--runs", "my runs"]
    )
    assert not any("port" in word for word in command(tmp_path / "app.py", Path("runs"), port=None, headless=False))
