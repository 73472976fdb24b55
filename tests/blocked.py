"""Python processes in which some libraries are as good as not installed."""

from __future__ import annotations

import os
import subprocess
import sys

_BLOCKER = """
import sys

class _Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, _Blocker())
"""


def run_blocked(code, *, without, cwd):
    """Run Python code in a process that cannot import the top-level modules named."""
    program = _BLOCKER.format(names=set(without)) + code
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )
