"""`findings.jsonl` in a run's folder: what rules said of the run over time, a line each time a rule's state changed.

    {"time": …, "run": …, "rule": "rank-1-saturation", "state": "fired", …}

Lines are only appended, all of one look at once; the last line of a rule is its state. No reader of the run needs the
file, and the process that trains never writes it. A line cut short by a crash is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..layout.run import now, unwritable

FINDINGS_FILE = "findings.jsonl"


def last_states(run_dir: Path) -> dict[str, str]:
    """Rule → its state as it was written last; empty where nothing was."""
    try:
        text = (run_dir / FINDINGS_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    states = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("rule"), str) and isinstance(entry.get("state"), str):
            states[entry["rule"]] = entry["state"]
    return states


def append_changes(run_dir: Path, entries: Iterable[Mapping[str, Any]]) -> int:
    """Append the entries whose state differs from what was written last; returns how many.

    Args:
        run_dir: the run's folder.
        entries: with `rule` and `state`, as JSON can hold them.

    Raises:
        RunUnwritable: the folder cannot be written.
    """
    before = last_states(run_dir)
    changed = [entry for entry in entries if before.get(entry["rule"]) != entry["state"]]
    if not changed:
        return 0
    path = run_dir / FINDINGS_FILE
    lines = "".join(
        json.dumps({"time": now(), **entry}, ensure_ascii=False, allow_nan=False) + "\n" for entry in changed
    )
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with open(descriptor, "rb+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                lines = lines if file.read(1) == b"\n" else "\n" + lines  # after a line that was cut short
            data = lines.encode()
            if file.write(data) != len(data):
                raise OSError("the disk is full")
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error
    return len(changed)
