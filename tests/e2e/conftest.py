"""One short probed run of the built-in task, made by the command itself and shared by the tests of this folder."""

from __future__ import annotations

import pytest
from commands import SHORT, command


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """(folder, finished process) of `simko-train --probe --run_name first …`."""
    folder = tmp_path_factory.mktemp("trained")
    done = command("train", "--probe", "--run_name", "first", *SHORT, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done
