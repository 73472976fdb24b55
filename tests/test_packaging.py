"""What is built is what is tracked: every module and data file of the rooms is in the wheel and in the sdist."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("store", "probes", "trainers", "dashboard", "cli")


def tracked(*folders):
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def test_wheel_and_sdist_hold_every_tracked_file_of_the_rooms(tmp_path):
    # Built from an export, so that neither stale build folders nor untracked files can help.
    for name in tracked():
        source, copy = ROOT / name, tmp_path / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            copy.symlink_to(source.readlink())
        else:
            copy.write_bytes(source.read_bytes())
    command = [sys.executable, "-m", "build", "--outdir", str(tmp_path / "dist"), str(tmp_path / "source")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    expected = tracked(*ROOMS)
    wheel = next((tmp_path / "dist").glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        scripts = next(archive.read(n).decode() for n in names if n.endswith("entry_points.txt"))
    assert expected == {name.removeprefix("simko/") for name in names if name.startswith("simko/")}
    assert "simko-train = simko.cli.train:main" in scripts
    assert "simko = simko.cli.simko:main" in scripts
    with tarfile.open(next((tmp_path / "dist").glob("*.tar.gz"))) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert expected | {"pyproject.toml", "README.md", "LICENSE"} <= inside
