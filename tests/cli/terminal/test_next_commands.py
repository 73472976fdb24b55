"""What a command says to type next works as it is printed, also in folders with spaces."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from simko.cli.simko import COMMANDS, main
from simko.cli.terminal.next_commands import next_commands, quoted


def commands_of(output):
    lines = [line.partition(":") for line in output.splitlines()]
    return {name: rest.strip() for name, _, rest in lines if name in ("look at it", "compare", "ask it")}


@pytest.mark.parametrize(
    ("arguments", "compared"), [(["--steps", "4"], "diff"), (["--tokens", "2k", "--steps", "2"], "show")]
)
@pytest.mark.parametrize("folder", ["runs", "my runs; echo $HOME"])
def test_the_three_commands_work_as_printed(arguments, compared, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *arguments, "--runs", folder]) == 0
    commands = commands_of(capsys.readouterr().out)
    assert len(commands) == 3
    words = {name: shlex.split(line) for name, line in commands.items()}
    assert words["look at it"][1:] == ["dashboard"] + ([] if folder == "runs" else [folder])
    assert words["compare"][1] == compared
    for name in ("compare", "ask it"):
        assert main(words[name][1:]) == 0
    assert all(line[1] in COMMANDS for line in words.values())


def test_a_command_names_a_run_by_its_name_where_that_is_enough(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.delenv("SIMKO_RUNS", raising=False)
    compare = next_commands([Path("runs/a"), Path("runs/b")], "SELECT 1")[1]
    assert compare.endswith("simko diff a b")
    assert next_commands([Path("elsewhere/a")], "SELECT 1")[1].endswith("simko show elsewhere/a")


@pytest.mark.parametrize(
    "text", ["it's", "a b", "SELECT 'x'", "'$HOME'", "plain", "\"both\" 'kinds'", "'`id`'", "'!!'"]
)
def test_a_shell_reads_back_what_was_quoted(text):
    printed = subprocess.run(["bash", "-c", f"printf %s {quoted(text)}"], capture_output=True, text=True, check=True)
    assert printed.stdout == text
