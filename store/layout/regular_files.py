"""Opens files of a run that may be anything by now: a pipe or a device is refused, never waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path, *, follow: bool = True, buffered: bool = True) -> BinaryIO:
    """A regular file, open for reading.

    Args:
        path: the file.
        follow: whether a link is followed.
        buffered: whether a read gives all that was asked for, as far as it is there; one that is read once needs none.

    Raises:
        OSError: it cannot be opened or is no regular file; `strerror` says which.
        ValueError: no file can have that name.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    file: BinaryIO = os.fdopen(os.open(path, flags), "rb", -1 if buffered else 0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(0, "not a regular file", str(path))
    return file


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`, or it is larger.
    """
    with open_regular(path) as file:
        return read_at_most(file, most)


def read_at_most(file: BinaryIO, most: int) -> bytes:
    """The rest of an open file.

    Raises:
        OSError: there are more bytes than that.
    """
    content = file.read(most + 1)
    if len(content) > most:
        raise OSError(0, f"larger than the {most} bytes that are read", file.name)
    return content
