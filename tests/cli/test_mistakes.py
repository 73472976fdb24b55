"""Mistakes are told in one line with the nearest known word, at once, and no library is loaded for it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from simko.cli.simko import COMMANDS, main
from terminals import SIMKO


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("lss", "simko: no command lss; did you mean ls?"),
        ("dashbord", "simko: no command dashbord; did you mean dashboard?"),
        ("xyzzy", "simko: no command xyzzy; there are: ls, show, "),
        ("--verison", "simko: no option --verison; did you mean --version?"),
        ("ls --al", "simko ls: unknown option --al; did you mean --all?"),
        ("ls -z", "simko ls: unknown option -z; see `simko ls --help`"),
        ("query q --formt csv", "simko query: unknown option --formt; did you mean --format?"),
        ("query q --formt=csv", "simko query: unknown option --formt; did you mean --format?"),
        ("query q --format jsn", "simko query: no --format jsn; did you mean json?"),
        ("query q --format", "simko query: --format needs a value; see `simko query --help`"),
        ("query q --watch soon", "simko query: --watch: invalid float value: 'soon'; see `simko query --help`"),
        ("query q --watch nan", "simko query: --watch nan: give seconds above 0"),
        ("query q --watch inf", "simko query: --watch inf: give seconds above 0"),
        ("query q --output=", "simko query: --output '' is no file; give the path of the file to write"),
        ("query q --output /", "simko query: --output '/' is no file; give the path of the file to write"),
        ("report r --output=", "simko report: --output '' is no file; give the path of the file to write"),
        ("diff one", "simko diff: the following arguments are required: second; see `simko diff --help`"),
        ("show one two", "simko show: unexpected argument two; see `simko show --help`"),
        ("completion powershell", "simko completion: no shell powershell; there are: bash, zsh, fish"),
        ("completion fsh", "simko completion: no shell fsh; did you mean fish?"),
        ("dashboard --port 0", "simko dashboard: --port: '0' is no port; give a number from 1 to 65535; see"),
        ("dashboard nowhere --runs none", "simko dashboard: no run named nowhere: there is no folder none; give"),
        ("demo --seed -1", "simko demo: --seed: '-1' is no seed; give a whole number, 0 or above; see"),
    ],
)
def test_mistakes(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(message) and err.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_refuses_what_it_does_not_know(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"usage: simko {name}" in capsys.readouterr().out
    assert main([name, "--no-such-thing"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"simko {name}: ") and err.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_heavy_is_loaded_for_a_mistake(name, tmp_path):
    code = (
        f"import sys\nfrom simko.cli.simko import main\nassert main([{name!r}, '--no-such-thing']) == 2\n"
        "print(sorted({'torch', 'duckdb', 'pyarrow', 'pandas', 'streamlit', 'numpy', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "[]\n", done.stderr


def test_a_mistake_is_told_within_a_second(tmp_path):
    begun = time.monotonic()
    done = subprocess.run([*SIMKO, "query", "q", "--formt"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and time.monotonic() - begun < 1


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"simko {version('simko')}\n"
