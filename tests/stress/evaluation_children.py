"""Evaluates and is killed: `python evaluation_children.py ARGUMENTS…`, a line per call.

    250 RUNS    fork `simko eval ARGUMENTS… --runs RUNS`, kill it after 250 ms → killed, or its exit code
    -1 RUNS     fork it and wait for its end

Children are forked from a process that has imported everything and used nothing, so a kill costs little.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import pandas  # noqa: F401  imported at first use, which would outlast most children
import transformers.models.llama.modeling_llama  # noqa: F401
from simko.cli.simko import main

for line in sys.stdin:
    milliseconds, runs = line.split()
    wait = float(milliseconds)
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        code = 1
        try:
            code = main(["eval", *sys.argv[1:], "--runs", runs])
        finally:
            os._exit(code)
    if wait >= 0:
        time.sleep(wait / 1000)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    print("killed" if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status), flush=True)
