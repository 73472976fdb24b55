"""Tab completion, asked as a shell asks: with the line in $COMP_LINE, and through bash itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest
from simko.trainers.options.methods import METHODS
from terminals import SIMKO, environment

FORBIDDEN = {"torch", "duckdb", "pyarrow", "pandas", "transformers", "trl", "streamlit"}


def completed(line, home, **settings):
    """What the word at the end of a line can become."""
    answer = home / "completions"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    asked |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    answer.unlink(missing_ok=True)
    done = subprocess.run(SIMKO, cwd=home, env=environment(**asked, **settings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [word.strip() for word in answer.read_text().splitlines() if word.strip()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("simko sh", ["show"]),
        ("simko query --fo", ["--format"]),
        ("simko query --format ", ["table", "csv", "json", "parquet", "arrow"]),
        ("simko query top-f", ["top-forking-tokens"]),
        ("simko query top-forking-tokens --set ", ["limit="]),
        ("simko show g", ["grpo-short"]),
        ("simko diff grpo-short ", ["grpo-short", "simko-short"]),
        ("simko doctor --deep s", ["simko-short"]),
        ("simko dashboard s", ["simko-short"]),
        ("simko query overview --runs g", ["grpo-short"]),
        ("simko study paper", ["paper-laptop"]),
        ("simko completion ", ["bash", "zsh", "fish"]),
        ("/opt/bin/simko-train --method sim", ["simko"]),
        ("simko-train --method ", list(METHODS)),
        ("simko-train --simko_al", ["--simko_alpha"]),
        ("simko-train --num_gener", ["--num_generations", "--num_generations_eval"]),
        ("simko-train --probe_precision ", ["float32", "bfloat16"]),
        ("simko-train --resume runs/g", ["runs/grpo-short"]),
    ],
)
def test_words(line, words, home):
    assert sorted(completed(line, home)) == sorted(words)


def test_names_come_from_the_folder_of_runs_that_is_asked_for(home, tmp_path):
    shutil.copytree(home / "runs" / "grpo-short", tmp_path / "other")
    assert completed(f"simko show --runs {tmp_path} ", home) == ["other"]
    assert completed("simko show ", home, SIMKO_RUNS=str(tmp_path)) == ["other"]
    assert completed("simko show ", home, SIMKO_RUNS=str(tmp_path / "none")) == []


@pytest.mark.parametrize("line", ["simko show ", "simko query ", "simko-train --method "])
def test_a_tab_is_answered_within_a_second(line, home):
    begun = time.monotonic()
    assert completed(line, home)
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("line", ["simko ", "simko study ", "simko query ", "simko show ", "simko-train --"])
def test_nothing_heavy_is_loaded_for_a_tab(line, tmp_path):
    code = (
        "import os, sys\nos.environ |= {'_ARGCOMPLETE': '1', '_ARGCOMPLETE_STDOUT_FILENAME': os.devnull, "
        f"'COMP_LINE': {line!r}, 'COMP_POINT': {str(len(line))!r}}}\n"
        f"loaded = lambda: print(sorted({FORBIDDEN!r} & set(sys.modules)), flush=True)\n"
        "os._exit = lambda code: (loaded(), sys.exit(code))\n"
        "from simko.cli.simko import main\nmain([])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_registers_both_commands(shell, tmp_path):
    script = subprocess.run(
        [*SIMKO, "completion", shell], capture_output=True, text=True, cwd=tmp_path, check=True
    ).stdout
    assert "simko-train" in script and "_ARGCOMPLETE" in script
    if program := shutil.which(shell):
        assert subprocess.run([program, "-n"], input=script, text=True, capture_output=True).returncode == 0


@pytest.mark.parametrize(("line", "word"), [("simko show gr", "grpo-short"), ("simko-train --method gsp", "gspo")])
def test_bash_completes(line, word, home, tmp_path):
    program = tmp_path / "simko"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m simko.cli.simko "$@"\n')
    program.chmod(0o755)
    script = (
        f'export PATH="{tmp_path}:$PATH"\n'
        "source <(simko completion bash | sed 's#local script=.*#local script=simko#')\n"
        f"COMP_LINE='{line}' COMP_POINT={len(line)} COMP_TYPE=9\n"
        f"set -- $(complete -p {line.split()[0]})\n"
        'while [ "$1" != -F ]; do shift; done\n'
        f'"$2" {line.split()[0]}\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=home, env=environment())
    assert done.stdout.split() == [word], done.stderr
