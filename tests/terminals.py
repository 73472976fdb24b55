"""Commands run as a person runs them: on a terminal of some width, into a pipe, into a device."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from multiprocessing.connection import wait

import forked

SIMKO = [sys.executable, "-m", "simko.cli.simko"]
_PLAIN = ("COLUMNS", "NO_COLOR", "SIMKO_RUNS", "PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL")


def environment(**settings):
    """The environment without what would change how a command prints, and with some settings."""
    return {name: value for name, value in os.environ.items() if name not in _PLAIN} | settings


def on_terminal(*arguments, columns, cwd, **settings):
    """(exit code, lines) of `simko` on a terminal so many cells wide."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = forked.start(
        "simko.cli.simko", *arguments, cwd=cwd, environment=environment(**settings), terminal=os.ttyname(follower)
    )
    output = b""
    while leader in wait([leader, process.sentinel]):
        output += os.read(leader, 1 << 16)
    os.close(leader)
    os.close(follower)
    return process.finish(60).returncode, output.decode().replace("\r\n", "\n").splitlines()


def in_pipe(*arguments, cwd, **settings):
    """The finished process of `simko` with its output in pipes."""
    return subprocess.run(
        [*SIMKO, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment(**settings), timeout=60
    )


def in_shell(line, cwd, **settings):
    """The finished process of a line of bash, in which `simko` is the command."""
    define = f'simko() {{ "{sys.executable}" -m simko.cli.simko "$@"; }}; set -o pipefail; '
    command = ["bash", "-c", define + line]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment(**settings), timeout=60)
