"""A demonstration that could not be written says so, with an exit code."""

from __future__ import annotations

import resource
import subprocess
import sys


def test_a_demonstration_that_is_not_whole_ends_in_one_line_and_exit_code_2(tmp_path):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 512, 16 * 512))

    command = [sys.executable, "-W", "ignore", "-m", "simko.cli.simko", "demo", "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=small_files, cwd=tmp_path)
    assert done.returncode == 2
    assert "demo-grpo is not whole" in done.stderr.splitlines()[-1] and "make room" in done.stderr
    assert "written:" not in done.stdout
