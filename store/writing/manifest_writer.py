"""The writing side of a manifest: one process's lock on the run, its file, and whole lines.

The file is made exclusively, so that an attempt's number is never used twice, and appended unbuffered with fsync: a
line is there whole or, on a full disk, not at all. What the lines say is in `manifest`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunBusy
from ..layout.checksums import file_checksum, sealed
from ..layout.liveness import process_namespace, sign_of_life
from ..layout.run import MANIFEST_FOLDER, VOCABULARY_FILE, now, unwritable
from ..posix import fcntl


class ManifestWriter:
    """Appends to `manifest/<attempt>-<rank>.jsonl`, holding the run's lock for this rank.

    Args:
        run_dir: the run's folder.
        attempt: which start of the run this is.
        rank: this process among those that write the run.
        about: further entries of the first line.

    Raises:
        RunBusy: another process is writing this rank of the run.
        RunUnwritable: the folder cannot be written.
    """

    def __init__(self, run_dir: Path, attempt: int, rank: int, about: Mapping[str, Any]) -> None:
        folder = run_dir / MANIFEST_FOLDER
        path = folder / f"{attempt:03d}-{rank:03d}.jsonl"
        self._key = path.name.encode()
        self._written = 0
        with contextlib.ExitStack() as undo:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = os.open(folder / f".lock-{rank}", os.O_RDWR | os.O_CREAT, 0o644)
                undo.callback(os.close, self._lock)
                _lock(self._lock, run_dir)
                self._file = path.open("xb", buffering=0)
                undo.callback(self._file.close)
                process = {"started": now(), "pid": os.getpid(), "host": socket.gethostname()}
                process["namespace"] = process_namespace()
                first = {"kind": "attempt", "attempt": attempt, "rank": rank, **about, **process}
                there = run_dir / VOCABULARY_FILE
                vocabulary = file_checksum(there) if there.exists() else None
                self.lines([{**first, "earlier": _earlier(folder, attempt), "vocabulary": vocabulary}])
            except FileExistsError as error:
                raise RunBusy(f"{path} is there already: attempt {attempt} has been started before") from error
            except OSError as error:
                raise unwritable(run_dir, error) from error
            self._sign = sign_of_life(path)
            self.alive()
            undo.pop_all()

    def lines(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append lines, all at once.

        Raises:
            OSError: they could not be written; nothing of them is left.
        """
        first = self._written + 1
        line = b"".join(sealed(entry, number, self._key) for number, entry in enumerate(entries, first))
        size = self._file.tell()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError:
            self._file.seek(size)
            self._file.truncate()
            raise
        self._written += len(entries)

    def alive(self) -> None:
        """Show that the process is there (`layout/liveness`)."""
        with contextlib.suppress(OSError):
            self._sign.touch()

    def close(self) -> None:
        """Let go of the file and the lock."""
        with contextlib.suppress(OSError):
            self._sign.unlink(missing_ok=True)
        self._file.close()
        os.close(self._lock)


def _earlier(folder: Path, attempt: int) -> dict[str, int]:
    """Whole lines of the manifests of earlier attempts, and of the list of merges, by name."""
    paths = [path for path in folder.glob("*.jsonl") if not path.name.startswith(f"{attempt:03d}-")]
    return {path.name: path.read_bytes().count(b"\n") for path in sorted(paths)}


def _lock(descriptor: int, run_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunBusy(
            f"{run_dir} is being written by another process; wait for it, or choose another --run_name"
        ) from error
    except OSError:
        return  # a file system without locks: files made exclusively still tell attempts apart
