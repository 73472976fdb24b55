"""`pip install simko` alone: logs are written, read and asked with nothing of what trains or draws."""

from __future__ import annotations

import subprocess
import venv

import pytest
from blocked import run_blocked
from test_packaging import ROOT, declared, export

MODULES = {"pyyaml": "yaml"}
EXTRAS = {MODULES.get(name, name.replace("-", "_")) for name in declared("all", "gguf", "lora", "png", "kernels")}
EXTRAS -= {name.replace("-", "_") for name in declared()}
COMMANDS = [
    ["demo", "--steps", "2"],
    ["ls"],
    ["show", "runs/demo-grpo"],
    ["diff", "runs/demo-grpo", "runs/demo-simko"],
    ["query", "SELECT count(*) AS n FROM rollups"],
    ["query", "overview"],
    ["doctor"],
    ["doctor", "--deep"],
    ["compact", "runs/demo-grpo"],
    ["gc", "runs/demo-grpo"],
]


def test_the_commands_of_the_core_do_without_every_extra(tmp_path):
    assert {"torch", "transformers", "trl", "streamlit", "plotly", "yaml"} <= EXTRAS
    code = f"from simko.cli.simko import main\nprint([main(argv) for argv in {COMMANDS!r}])"
    done = run_blocked(code, without=EXTRAS, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == str([0] * len(COMMANDS)), done.stdout + done.stderr
    assert not done.stderr


@pytest.mark.parametrize("name", ["store", "store.study", "store.writing.recorder", "cli.simko"])
def test_the_core_imports_without_every_extra(name, tmp_path):
    assert run_blocked(f"import simko.{name}", without=EXTRAS, cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_the_core_in_an_environment_of_its_own(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    export(tmp_path / "source")
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, tmp_path / "source"], check=True)
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0].lower().replace("-", "_") for line in listed.splitlines()[2:]}
    assert not names & (EXTRAS - {"yaml"})
    for command in COMMANDS:
        simko = [tmp_path / "venv" / "bin" / "simko", *command]
        done = subprocess.run(simko, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
