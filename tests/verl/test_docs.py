"""The commands of docs/verl.md and of the example are taken, by us and by verl."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from simko.trainers.options.methods import METHODS
from simko.trainers.verl.launch import check, read
from simko.trainers.verl.settings import ELSEWHERE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/verl.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "examples/verl/gsm8k.sh").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m simko\.trainers\.verl (.*?[^\\])\n", PAGE + EXAMPLE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_commands_are_taken(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.replace("\\\n", " ").replace('"$run"', "runs/new").replace("$method", "simko"))
    config = check(read(words))
    assert config.actor_rollout_ref.actor.strategy in ("fsdp", "fsdp2")


def test_there_are_commands():
    assert len(COMMANDS) == 4


def test_every_method_is_named():
    section = PAGE[PAGE.index("## Methods") : PAGE.index("### Advantages")]
    assert set(METHODS) == set(re.findall(r"`(\w+)`", section)) & set(METHODS)
    settings_of_verl = section.split("Methods that are settings")[1]
    assert all(f"`{name}`" in settings_of_verl for name in ELSEWHERE)
