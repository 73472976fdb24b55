"""The writing side of `manifest/merges.jsonl`: its lines counted once, then appended one by one, whole or not at all.

What the lines say is in `store/layout/merges.py`. Whoever appends holds the compactor's lock.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..layout.checksums import sealed
from ..layout.merges import MERGES_FILE
from ..layout.run import MANIFEST_FOLDER


class MergeList:
    """Appends to the list of merges of a run.

    Attributes:
        lines: how many there are.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = Path(run_dir) / MANIFEST_FOLDER / MERGES_FILE
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content.rfind(b"\n") + 1
        self._size = whole  # half a line that a kill has left is written over
        self.lines = content.count(b"\n")
        # A list that was begun before there were checksums goes on without.
        self._sealed = not whole or b'"crc": "' in content.split(b"\n", 1)[0]

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            OSError: it could not be written; nothing of it is left.
        """
        if self._sealed:
            line = sealed(entry, self.lines + 1, MERGES_FILE.encode())
        else:
            line = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
        with self._path.open("ab", buffering=0) as file:
            try:
                file.truncate(self._size)
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self._size)
                raise
        self._size += len(line)
        self.lines += 1
