"""Changing the lines of a manifest as if the writer had written them so: each gets its number and checksum anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from simko.store.layout.checksums import sealed

_SINCE_CHECKSUMS = ("checksum", "vocabulary", "earlier", "namespace", "probe", "smoothing", "sampler")


def entries(path: Path) -> list[dict[str, Any]]:
    """What the lines of a manifest say, without their numbers and checksums."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name not in ("line", "crc")} for line in lines]


def write(path: Path, content: Iterable[dict[str, Any]]) -> None:
    """Write a manifest that says this."""
    path.write_bytes(b"".join(sealed(entry, n, path.name.encode()) for n, entry in enumerate(content, 1)))


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change every line of a manifest."""
    write(path, [change(entry) for entry in entries(path)])


def as_before_checksums(run: Path, version: int = 3) -> None:
    """Turn a run into one of a schema version in which nothing had checksums."""
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    info = {name: value for name, value in info.items() if name != "checksum"} | {"schema_version": version}
    (run / "run.json").write_text(json.dumps(info), encoding="utf-8")
    for path in (run / "manifest").glob("*.jsonl"):
        older = [
            {name: value for name, value in entry.items() if name not in _SINCE_CHECKSUMS} for entry in entries(path)
        ]
        path.write_text("".join(json.dumps(entry) + "\n" for entry in older), encoding="utf-8")
