"""Writes one evaluation beside training: a lock of its own, its manifest, and the files of a unit all at once.

    with EvaluationWriter(run_dir, identity, header) as writer:
        for unit in units if unit not in writer.done:
            writer.publish(unit, evals=…, samples=…)

The evaluation takes no lock of the run and no number of an attempt, so a run is evaluated while it trains, by other
processes and from other hosts. A kill leaves a unit whole or not at all: its files are complete before their lines are
written, and those are written together. Done again, a unit overwrites the files that a kill has left without lines.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import EvaluationChanged, RunBusy
from ..layout.checksums import sealed
from ..layout.evaluation_file import EvaluationFile, evaluation_path, read_evaluation_file
from ..layout.liveness import process_namespace, sign_of_life
from ..layout.run import MANIFEST_FOLDER, now, unwritable
from ..layout.schema import TableName
from ..posix import fcntl
from .parquet import rows_table, write_part

_SIGN_SECONDS = 10.0
_MUST_AGREE = ("benchmark", "step", "settings", "problems", "digest", "engine")


class EvaluationWriter:
    """The one process that writes an evaluation; begins it, or goes on where it was left.

    Args:
        run_dir: the run's folder.
        evaluation: its identity, twelve hexadecimal digits.
        header: the entries of its first line (`layout/evaluation_file`). The units of one that is there already stay as
            they are.

    Attributes:
        header: as it is on disk.
        done: units that are done.

    Raises:
        EvaluationChanged: what is there was measured in another way.
        RunBusy: another process is writing it.
        RunUnwritable: the folder cannot be written.
    """

    def __init__(self, run_dir: Path, evaluation: str, header: Mapping[str, Any]) -> None:
        self.run_dir, self.evaluation = Path(run_dir), evaluation
        folder = self.run_dir / MANIFEST_FOLDER
        path = evaluation_path(folder, evaluation)
        self._key = path.name.encode()
        self._ended = threading.Event()
        with contextlib.ExitStack() as undo:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = os.open(folder / f".lock-evaluation-{evaluation}", os.O_RDWR | os.O_CREAT, 0o644)
                undo.callback(os.close, self._lock)
                _lock(self._lock, self.run_dir, evaluation)
                there = read_evaluation_file(self.run_dir, path) if path.exists() else []
                self.header, self.done = _agreed(path, there, header)
                self._file = path.open("ab", buffering=0)
                undo.callback(self._file.close)
                self._drop_torn_line(path)
                begun = isinstance(there, EvaluationFile)
                first = {"kind": "evaluation", "evaluation": evaluation, **header}
                session = {"kind": "session", "started": now(), "pid": os.getpid(), "host": socket.gethostname()}
                session["namespace"] = process_namespace()
                self._append([session] if begun else [first, session])
            except OSError as error:
                raise unwritable(self.run_dir, error) from error
            self._sign = sign_of_life(path)
            self._touch()
            undo.pop_all()
        threading.Thread(target=self._give_signs, name="simko-evaluation", daemon=True).start()

    def publish(
        self, unit: int, *, evals: Mapping[str, Sequence[Any]], samples: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        """Write a unit: its counts per problem and, where responses were drawn, each of them.

        Args:
            unit: its number.
            evals: columns of `evals` but attempt, worker, step, evaluation, benchmark.
            samples: columns of `samples` but step, evaluation, benchmark.

        Raises:
            RunUnwritable: the disk refuses; nothing of the unit is there then.
        """
        # The counts come last: they are what makes the unit done, also where a power cut tears the lines apart
        tables: list[tuple[TableName, Mapping[str, Sequence[Any]]]] = [("evals", evals)]
        if samples is not None:
            tables.insert(0, ("samples", samples))
        entries: list[dict[str, Any]] = []
        try:
            for table, columns in tables:
                entries.append(self._write(unit, table, columns))
            self._append(entries)
        except OSError as error:
            for entry in entries:
                (self.run_dir / entry["path"]).unlink(missing_ok=True)
            raise unwritable(self.run_dir, error) from error
        self.done.add(unit)

    def close(self, status: str = "finished") -> None:
        """End the session: finished, interrupted or failed; later calls do nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        try:
            self._append([{"kind": "end", "status": status, "ended": now()}])
        except OSError as error:
            raise unwritable(self.run_dir, error) from error
        finally:
            with contextlib.suppress(OSError):
                self._sign.unlink(missing_ok=True)
            self._file.close()
            os.close(self._lock)

    def __enter__(self) -> EvaluationWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        complete = len(self.done) == self.header["units"]
        self.close("finished" if complete else "interrupted" if interrupted or kind is None else "failed")

    def _write(self, unit: int, table: TableName, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Write a file; returns its line."""
        began = time.perf_counter()
        n, step = len(columns["prompt_id"]), self.header["step"]
        known = {"evaluation": self.evaluation, "benchmark": self.header["benchmark"], "step": step}
        data = rows_table(table, {**columns, **{name: [value] * n for name, value in known.items()}}, k=0)
        relative = f"{table}/part-evaluation-{self.evaluation}-{unit + 1:06d}.parquet"
        size, checksum = write_part(self.run_dir / relative, table, data)
        about = {"kind": "file", "unit": unit, "table": table, "path": relative, "steps": [step, step], "rows": n}
        took = round(1e3 * (time.perf_counter() - began), 3)
        return about | {"bytes": size, "checksum": checksum, "write_ms": took}

    def _drop_torn_line(self, path: Path) -> None:
        """Take away half a line that a kill has left, and count the whole ones."""
        content = path.read_bytes()
        self._file.truncate(content.rfind(b"\n") + 1)
        self._written = content.count(b"\n")

    def _append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Append lines, all at once.

        Raises:
            OSError: they could not be written; nothing of them is left.
        """
        numbered = enumerate(entries, self._written + 1)
        lines = b"".join(sealed(entry, number, self._key) for number, entry in numbered)
        size = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(size)
            raise
        self._written += len(entries)

    def _give_signs(self) -> None:
        while not self._ended.wait(_SIGN_SECONDS):
            self._touch()

    def _touch(self) -> None:
        with contextlib.suppress(OSError):
            self._sign.touch()


def _agreed(
    path: Path, there: EvaluationFile | list[str], header: Mapping[str, Any]
) -> tuple[Mapping[str, Any], set[int]]:
    """The header that counts, and the units done.

    Raises:
        EvaluationChanged: what is there was measured in another way, or cannot be read.
    """
    if not isinstance(there, EvaluationFile):
        if there:
            raise EvaluationChanged(f"{there[0]}; move the file away to evaluate anew")
        return header, set()
    for name in _MUST_AGREE:
        if there.header.get(name) != header[name]:
            raise EvaluationChanged(
                f"{path} was begun with another {name} ({there.header.get(name)}, now {header[name]}); go on as it was "
                "begun, or measure anew with another --seed"
            )
    return there.header, set(there.done)


def _lock(descriptor: int, run_dir: Path, evaluation: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunBusy(
            f"{run_dir}: evaluation {evaluation} is being written by another process; wait for it, or end it"
        ) from error
    except OSError:
        return  # a file system without locks: a unit that two processes do counts once
