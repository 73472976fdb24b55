"""Runs a command that ends with us: `python child_group.py COMMAND…`, standard library alone.

The command and all it starts are one process group. It is ended when standard input ends: when whoever started this
closes the pipe, or is gone, also by SIGKILL. First by SIGTERM, after `PATIENCE` seconds by SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

PATIENCE = 10.0


def main(command: list[str]) -> int:
    """Run the command; returns its exit code."""
    if os.getpgrp() != os.getpid():
        os.setpgrp()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the group's; ours is to wait for the others
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_heed_signals)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    code = child.wait()
    _signal(signal.SIGTERM)  # what it has left behind
    return code


def _heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1024):  # unbuffered: nothing holds a lock when the interpreter ends
        pass
    _signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(PATIENCE)
    _signal(signal.SIGKILL)  # this process as well: nothing is left to do


def _signal(number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(0, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
