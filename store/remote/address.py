"""Runs by their address in a bucket, `s3://bucket/prefix`: a copy in the cache that follows them, read only.

    folder = local("s3://bucket/runs")      $SIMKO_CACHE/s3/bucket/runs, else ~/.cache/simko/s3/…, up to date

The copy lies where its address says, so a path inside the cache is an address, too, and whoever opens it again follows
the bucket (`follow`). One process at a time brings a bucket's copy up to date.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import RunNotFound, SimkoError, UsageError
from ..layout.run import RUN_FILE
from .bucket import Bucket, Object
from .copy import copy_run

_ADDRESS = re.compile(r"s3:/+([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/+(.*))?", re.S)
_LEAST_SECONDS = 1.5
"""A copy that was looked after this lately is not looked after again."""
_LARGEST_BESIDE = 1_000_000
_looked: dict[Path, tuple[float, list[str]]] = {}
"""When a copy was brought up to date, and what could not be copied."""


def is_remote(address: str | Path) -> bool:
    """Whether an address is one in a bucket; a `Path` made of one has lost a slash, which does not matter."""
    return str(address).split("/")[0] == "s3:"


def cache() -> Path:
    """The folder of copies: $SIMKO_CACHE, else $XDG_CACHE_HOME/simko, else ~/.cache/simko."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SIMKO_CACHE") or Path(home) / "simko").absolute() / "s3"


def is_copy(folder: str | Path) -> bool:
    """Whether a folder is in the cache, and so is not to be written."""
    return Path(os.path.abspath(folder)).is_relative_to(cache())


def local(address: str | Path) -> Path:
    """The copy of an address, up to date.

    Raises:
        UsageError: it is no address of a bucket, or the cache cannot be written.
        RunNotFound: nothing is there.
        RemoteUnreachable, ExtraMissing: the bucket cannot be read.
    """
    match = _ADDRESS.fullmatch(str(address))
    parts = [part for part in (match[2] or "").split("/") if part] if match else []
    if match is None or {".", ".."} & set(parts):
        raise UsageError(f"{address} is no address of runs in a bucket; write s3://BUCKET/PREFIX")
    # The same name at another endpoint is another bucket.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    name = match[1] + (f"@{zlib.crc32(endpoint.encode()):08x}" if endpoint else "")
    folder = cache().joinpath(name, *parts)
    _bring_up_to_date(folder, match[1], "".join(f"{part}/" for part in parts))
    return folder


def follow(folder: str | Path) -> tuple[Path, list[str]]:
    """A folder to read, brought up to date where it is a copy, and lines about what could not be.

    Raises:
        as `local`, where it is an address that has no copy yet.
    """
    if is_remote(folder):
        folder = local(folder)
        return folder, _looked[folder][1]
    folder = Path(folder)
    if not is_copy(folder):
        return folder, []
    bucket, *parts = Path(os.path.abspath(folder)).relative_to(cache()).parts or ("",)
    if not bucket or not folder.is_dir():
        return folder, []
    try:
        return folder, _bring_up_to_date(folder, bucket.partition("@")[0], "".join(f"{part}/" for part in parts))
    except SimkoError as error:
        return folder, [f"{error}; shown is the copy of the last look"]


def _bring_up_to_date(folder: Path, name: str, prefix: str) -> list[str]:
    when, problems = _looked.get(folder, (float("-inf"), []))
    if time.monotonic() - when < _LEAST_SECONDS:
        return problems
    bucket = Bucket(name)
    objects = bucket.objects(prefix)
    runs = _runs(prefix, objects)
    if not objects:
        raise RunNotFound(f"s3://{name}/{prefix}: nothing there; give the address of a run, or one that holds runs")
    problems = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            for run in runs:
                inside = [entry for entry in objects if entry.key.startswith(run)]
                problems += copy_run(bucket, run, inside, folder / run[len(prefix) :])
            _copy_beside(bucket, prefix, objects, folder)
    except OSError as error:
        raise UsageError(
            f"cannot write the copy {folder} ({error.strerror or error}); set SIMKO_CACHE to a folder with room"
        ) from error
    _looked[folder] = time.monotonic(), problems
    return problems


def _runs(prefix: str, objects: list[Object]) -> list[str]:
    """The keys of runs: the prefix itself, or one level below."""
    relative = [entry.key[len(prefix) :] for entry in objects]
    return [prefix + key.removesuffix(RUN_FILE) for key in relative if re.fullmatch(rf"([^/]+/)?{RUN_FILE}", key)]


def _copy_beside(bucket: Bucket, prefix: str, objects: list[Object], folder: Path) -> None:
    """What makes a folder of runs a study: small files of JSON beside them."""
    for entry in objects:
        name = entry.key[len(prefix) :]
        if re.fullmatch(r"[^/.][^/]*\.json", name) and name != RUN_FILE and entry.size <= _LARGEST_BESIDE:
            (folder / name).write_bytes(bucket.read(entry.key, 0, entry.size))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    from ..posix import fcntl  # here, so that runs on this disk are read without

    lock = cache() / f".{folder.relative_to(cache()).parts[0]}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
