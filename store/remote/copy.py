"""A run's copy here: what its manifests name and what changed since the last look, and nothing twice.

Order makes it whole for every reader at any time: the Parquet files that the manifests name come first, each compared
with its checksum, and then the lines that name them. Manifests are appended to, as the writer does, and only their new
bytes are fetched, up to the size that the listing gave. Files that were merged are not fetched any more.

`.mirror.json` in the copy holds what was seen of the objects; it also tells `layout/liveness` that this is a copy. A
sign of life says when it was *uploaded*, which one look alone cannot tell from the writer's: it counts where it has
changed between two looks within a minute.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..layout.liveness import COPY_FILE, SILENT_SECONDS
from ..layout.manifest_file import DAMAGED, WHOSE
from ..layout.merges import MERGES_FILE
from ..layout.run import MANIFEST_FOLDER, RUN_FILE, VOCABULARY_FILE, write_atomically
from .bucket import Bucket, Object

_OVERLAP = 256
"""Bytes at the end of a manifest that are fetched again, to see that it is the same one."""


def copy_run(bucket: Bucket, prefix: str, objects: Sequence[Object], folder: Path) -> list[str]:
    """Bring the copy of a run up to date; returns a line about each file that could not be copied.

    Args:
        bucket: where the run is.
        prefix: its key with the slash at its end.
        objects: all of the run's.
        folder: the copy.

    Raises:
        RemoteUnreachable: the bucket cannot be asked any more.
        OSError: the copy cannot be written.
    """
    there = {entry.key.removeprefix(prefix): entry for entry in objects}
    (folder / MANIFEST_FOLDER).mkdir(parents=True, exist_ok=True)
    seen = _seen(folder)
    for name in (RUN_FILE, VOCABULARY_FILE):
        if name in there and (seen["tags"].get(name) != there[name].tag or not (folder / name).is_file()):
            _put(folder / name, bucket.read(there[name].key, 0, there[name].size))
        elif name not in there:
            (folder / name).unlink(missing_ok=True)
    manifests = {
        name: entry
        for name, entry in there.items()
        if name.startswith(f"{MANIFEST_FOLDER}/") and name.endswith(".jsonl") and name.count("/") == 1
    }
    contents = {name: _grown(bucket, entry, folder / name, seen["tags"].get(name)) for name, entry in manifests.items()}
    problems: list[str] = []
    for name, (checksum, size) in _live(contents).items():
        path = folder / name
        if name not in there or there[name].size != size or (path.is_file() and path.stat().st_size == size):
            continue  # one that is gone or torn there is named by whoever reads the manifest
        content = bucket.read(there[name].key)
        if checksum not in (None, f"{zlib.crc32(content):08x}"):
            problems.append(f"s3://{bucket.name}/{there[name].key}: altered since it was written (checksum)")
            continue
        path.parent.mkdir(exist_ok=True)
        _put(path, content)
    for name in sorted(contents, key=lambda name: name.endswith(MERGES_FILE)):
        before, after = contents[name]
        if after.startswith(before):
            with (folder / name).open("ab") as file:
                file.write(after[len(before) :])
        else:
            _put(folder / name, after)
    for path in folder.glob("*/*"):
        name = str(path.relative_to(folder))
        if name not in there and (path.suffix == ".parquet" or path.name.endswith(".jsonl")):
            path.unlink()
    now = time.time()
    alive = {name: entry.modified for name, entry in there.items() if name.startswith(f"{MANIFEST_FOLDER}/.alive-")}
    _signs_of_life(folder, seen, alive, now)
    tags = {name: there[name].tag for name in (RUN_FILE, VOCABULARY_FILE, *manifests) if name in there}
    write_atomically(folder / COPY_FILE, json.dumps({"tags": tags, "alive": alive, "looked": now}))
    return problems


def _seen(folder: Path) -> dict[str, Any]:
    """What the last look saw; a damaged file is as good as none."""
    try:
        content = json.loads((folder / COPY_FILE).read_text(encoding="utf-8"))
        return {"tags": dict(content["tags"]), "alive": dict(content["alive"]), "looked": float(content["looked"])}
    except (OSError, *DAMAGED):
        return {"tags": {}, "alive": {}, "looked": 0.0}


def _grown(bucket: Bucket, entry: Object, path: Path, tag: str | None) -> tuple[bytes, bytes]:
    """A manifest as it is here and as it is there; only what is new of it is fetched."""
    try:
        here = path.read_bytes()
    except OSError:
        here = b""
    if len(here) == entry.size and tag == entry.tag:
        return here, here
    if 0 < len(here) <= entry.size:
        start = max(0, len(here) - _OVERLAP)
        tail = bucket.read(entry.key, start, entry.size)
        if tail.startswith(here[start:]):
            return here, here[:start] + tail
    return here, bucket.read(entry.key, 0, entry.size)


def _live(contents: Mapping[str, tuple[bytes, bytes]]) -> dict[str, tuple[str | None, int]]:
    """Path of each file that counts → checksum and bytes; lines that are none are for the reader to name."""
    named: dict[str, tuple[str | None, int]] = {}
    replaced: set[str] = set()
    for _, after in contents.values():
        for line in after.splitlines():
            try:
                entry = json.loads(line)
                if entry["kind"] in ("file", "merge") and WHOSE.fullmatch(entry["path"]):
                    named[entry["path"]] = entry.get("checksum"), int(entry["bytes"])
                    replaced.update(entry.get("replaces", ()))
            except DAMAGED:
                continue
    return {path: said for path, said in named.items() if path not in replaced}


def _signs_of_life(folder: Path, seen: Mapping[str, Any], alive: Mapping[str, str], now: float) -> None:
    for path in (folder / MANIFEST_FOLDER).glob(".alive-*"):
        if str(path.relative_to(folder)) not in alive:
            path.unlink()
    if now - seen["looked"] > SILENT_SECONDS:
        return
    for name, modified in alive.items():
        if seen["alive"].get(name, modified) != modified:
            (folder / name).touch()


def _put(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
