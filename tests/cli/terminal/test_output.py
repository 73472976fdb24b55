"""What becomes of output that cannot be written, or not in the terminal's encoding."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from effort import some
from terminals import SIMKO, environment, in_pipe, in_shell

BOMB = "SELECT sum(sin(a.range * b.range)) FROM range(10000000) a, range(100000) b"


@pytest.mark.parametrize("arguments", some(["ls", "--help", "ls --help", "show grpo-short", "query --list"], 2))
def test_a_full_device_is_one_line_and_no_success(arguments, home):
    done = in_shell(f"simko {arguments} > /dev/full", home)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "cannot write the output: No space left on device" in done.stderr


@pytest.mark.parametrize("form", some(["csv", "json"], 2))
def test_a_reader_that_leaves_ends_the_command_in_silence(form, home):
    done = in_shell(f"simko query 'FROM range(1000000)' --format {form} | head -1", home)
    assert done.returncode == 141
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""


@pytest.mark.parametrize("arguments", some(["--help", "ls", "show grpo-short"], 2))
def test_output_that_fits_the_pipe_says_nothing_either(arguments, home):
    done = in_shell(f"simko {arguments} | head -1", home)
    assert done.stderr == "" and done.stdout.count("\n") == 1


def test_a_closed_standard_output_is_no_traceback(home):
    assert in_shell("simko ls >&-", home).stderr == ""


@pytest.mark.parametrize("settings", some([{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}], 2))
def test_ascii_has_a_word_for_every_sign(settings, home):
    ls = in_pipe("ls", cwd=home, **settings)
    assert (ls.returncode, ls.stderr) == (0, "")
    assert ls.stdout.isascii() and "Lambda(1)" in ls.stdout
    heading, first = ls.stdout.splitlines()[:2]
    place = heading.index("Lambda(1)") + len("Lambda(1)")  # numbers end where their heading ends
    assert first[place - 1].isdigit() and first[place] == " "
    diff = in_pipe("diff", "grpo-short", "simko-short", cwd=home, **settings)
    assert diff.returncode == 0 and diff.stdout.isascii() and " ... " in diff.stdout
    doctor = in_pipe("doctor", cwd=home, **settings)
    assert doctor.returncode == 0 and doctor.stdout.isascii()


def test_data_stay_what_they_are_where_the_terminal_has_no_letters_for_them(home):
    done = in_pipe("query", "SELECT 'Λ' AS text", "--format", "csv", cwd=home, LC_ALL="C")
    assert done.stdout == "text\nΛ\n"


def test_names_of_no_encoding_are_shown(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/r\xffn")
    done = in_pipe("ls", os.fsdecode(b"r\xffn"), cwd=tmp_path)
    assert done.returncode == 0 and "no runs there yet" in done.stdout
    done = in_pipe("show", os.fsdecode(b"./r\xffn"), cwd=tmp_path)
    assert done.returncode == 2 and "r\\udcffn is no run" in done.stderr


@pytest.mark.parametrize("form", some(["table", "csv"], 2))
def test_ctrl_c_ends_a_heavy_query_at_once(form, home):
    process = subprocess.Popen(
        [*SIMKO, "query", BOMB, "--format", form],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(2)
    assert process.poll() is None
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)
    assert time.monotonic() - begun < 3
    assert (process.returncode, output) == (130, ("", ""))


def test_a_guarded_command_ends_with_its_own_code(tmp_path):
    code = (
        "from simko.cli.terminal.output import guarded\nfrom simko.store.errors import UsageError\n"
        "import sys\n"
        "def fail(): raise UsageError('no\\n  such \\x1b[2J thing')\n"
        "print(guarded('program', lambda: 7), guarded('program', fail), guarded('program', lambda: sys.exit(3)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "7 2 3\n" and done.stderr == "program: no such \\x1b[2J thing\n"
