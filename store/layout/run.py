"""The folder of a run: `run.json`, the vocabulary, which attempt comes next, and where runs are found.

`run.json` is written once, by the first process of the first attempt, and never changed, which its checksum shows; what
differs between attempts (start step, options, status, meaning of figures) is in the manifests. Files are published by
writing a temporary name and renaming it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import RunExists, RunNameInvalid, RunNotFound, RunUnwritable, SchemaTooNew
from .regular_files import read_regular
from .schema import SCHEMA_VERSION

RUN_FILE = "run.json"
MANIFEST_FOLDER = "manifest"
VOCABULARY_FILE = "vocabulary.parquet"
_CHECKSUMS_SINCE = 4
"""The schema version from which on `run.json` has a checksum."""
LARGEST_RUN_FILE = 16_000_000
"""Bytes of a `run.json` that are read: a larger one is none."""


def now() -> str:
    """The time as it is written everywhere: ISO 8601, UTC, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_name(name: str) -> None:
    """See that a name is that of one folder, and so cannot lead to another place.

    Raises:
        RunNameInvalid: it is empty, has separators, is hidden, too long, or not printable.
    """
    good = name.strip() and Path(name).name == name and not name.startswith((".", "-")) and name.isprintable()
    if not good or len(name.encode()) > 200:
        raise RunNameInvalid(
            f"invalid run name {name!r}: use the name of one folder, without /, nothing unprintable, no . or - first, "
            "at most 200 bytes"
        )


def create_or_resume(run_dir: Path, info: Mapping[str, Any], *, resume: bool) -> None:
    """Make the run's folder and its `run.json`, or check that the run that is there can be continued.

    Args:
        run_dir: the run's folder; it may hold other things (checkpoints) already.
        info: entries of `run.json`: run, method, hyperparameters, model, tokenizer, task, dataset, probe, versions,
            config.
        resume: continue the run that is there; a folder without one is started.

    Raises:
        RunExists: there is a run and `resume` is False.
        SchemaTooNew: the run to continue was written by a newer store.
        RunUnwritable: the folder cannot be made or written.
    """
    run_dir = Path(run_dir)
    claim_folder(run_dir, resume=resume)
    if (run_dir / RUN_FILE).exists():
        read_run(run_dir)
        return
    content = {"schema_version": SCHEMA_VERSION, "run": run_dir.name, "created": now(), **info}
    content = json.loads(json.dumps(content, default=str))
    content["checksum"] = _checksum(content)
    try:
        (run_dir / MANIFEST_FOLDER).mkdir(parents=True, exist_ok=True)
        write_atomically(run_dir / RUN_FILE, json.dumps(content, indent=1, ensure_ascii=False))
    except OSError as error:
        raise unwritable(run_dir, error) from error


def claim_folder(run_dir: Path, *, resume: bool) -> None:
    """Make the run's folder and see that a run may be written there, before anything costly is begun.

    Raises:
        RunExists: there is a run and `resume` is False.
        RunUnwritable: the folder cannot be made or written.
    """
    run_dir = Path(run_dir)
    if not resume:
        check_free(run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        trial = run_dir / f".writable.{os.getpid()}.tmp"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise unwritable(run_dir, error) from error


def check_free(run_dir: Path) -> None:
    """See that a folder does not hold a run.

    Raises:
        RunExists: it does.
    """
    if (run_dir / RUN_FILE).exists():
        raise RunExists(
            f"{run_dir} already holds a run; give another --run_name, or continue it with --resume {run_dir}"
        )


def unwritable(run_dir: Path, error: OSError) -> RunUnwritable:
    """The error to raise where the system refuses a write into a run's folder."""
    reason = error.strerror or error
    return RunUnwritable(
        f"cannot write to {run_dir} ({reason}); check its permissions and room, or choose another folder"
    )


def write_atomically(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def read_run(run_dir: Path) -> dict[str, Any]:
    """The content of `run.json`.

    Raises:
        RunNotFound: there is none, or it is not readable as JSON.
        SchemaTooNew: it was written by a newer store.
    """
    path = Path(run_dir) / RUN_FILE
    try:
        content = json.loads(read_regular(path, LARGEST_RUN_FILE))
        result = int(content["schema_version"])
        if result < 1:
            raise ValueError
    except OSError as error:
        raise RunNotFound(f"no run at {run_dir} ({RUN_FILE}: {error.strerror})") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise RunNotFound(f"{path} is damaged; its Parquet files can still be read directly") from error
    if result > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{run_dir} was written with schema version {result}, this simko reads up to {SCHEMA_VERSION}; update simko"
        )
    run: dict[str, Any] = content
    return run


def edited(run_dir: Path, info: Mapping[str, Any]) -> str | None:
    """A line where `run.json` is not as it was written, or None."""
    stated = info.get("checksum", None if info["schema_version"] >= _CHECKSUMS_SINCE else _checksum(info))
    if stated == _checksum(info):
        return None
    return f"{run_dir / RUN_FILE}: changed since it was written; what it says of the run may not be so"


def _checksum(info: Mapping[str, Any]) -> str:
    """CRC-32 of what `run.json` says, however it is spelt, eight hexadecimal digits."""
    said = {name: value for name, value in info.items() if name != "checksum"}
    return f"{zlib.crc32(json.dumps(said).encode()):08x}"


def find_runs(folder: Path, *, nested: bool = True) -> list[Path]:
    """The folders of runs in `folder`, sorted by name; `folder` may itself be a run.

    Args:
        folder: where to look.
        nested: whether the runs in the sub-folders of a run count, too.

    Raises:
        RunNotFound: the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunNotFound(f"no folder {folder}; give the folder of a run, or one that holds runs")
    inside = [folder / name for name in _folders_with(folder, RUN_FILE)]
    if not os.path.lexists(folder / RUN_FILE):
        return inside
    # A stray `run.json` beside runs must not hide them; it is named as a run that cannot be read, or is one more.
    return [folder, *inside] if nested else [folder]


def _folders_with(folder: Path, name: str) -> list[str]:
    """The names of the folders in a folder that hold something called `name`, in order."""
    try:
        return sorted(found for found in os.listdir(folder) if os.path.exists(f"{folder}/{found}/{name}"))
    except OSError:
        return []


def nameless_runs(folder: Path) -> list[str]:
    """A line for each folder that has a manifest and no `run.json`, so that nobody can say what its rows mean."""
    folders = [folder, *(folder / name for name in _folders_with(folder, MANIFEST_FOLDER))]
    return [
        f"{path}: has a manifest and no {RUN_FILE}, so it is left out; its Parquet files can still be read directly"
        for path in folders
        if (path / MANIFEST_FOLDER).is_dir() and not os.path.lexists(path / RUN_FILE)
    ]


def next_attempt(run_dir: Path) -> int:
    """The number of the next attempt: one more than the newest manifest's."""
    firsts = [path.name.split("-")[0] for path in (Path(run_dir) / MANIFEST_FOLDER).glob("[0-9]*-[0-9]*.jsonl")]
    return max((int(first) for first in firsts if first.isdecimal()), default=0) + 1


def write_vocabulary(run_dir: Path, texts: Sequence[str]) -> None:
    """Write the text of every token id, once; an existing vocabulary stays.

    Raises:
        RunUnwritable: the folder cannot be written.
    """
    path = Path(run_dir) / VOCABULARY_FILE
    if path.exists():
        return
    table = pa.table({"token_id": pa.array(range(len(texts)), pa.int32()), "text": pa.array(list(texts), pa.string())})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, temporary, compression="zstd")
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(Path(run_dir), error) from error
