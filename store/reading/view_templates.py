"""Views ready to be copied, for processes that open runs again and again.

To make all views takes DuckDB a tenth of a second, most of it to look up names and types in views on views on views. A
database whose views are copied from another one skips that until they are asked for. So when a process wants the same
views a second time, they are kept in a database file in the temporary folder and copied from then on; it goes when the
process ends. Where it cannot be written or read, views are made as at first.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb

from ..layout.schema import TABLES
from .views import quote

Key = tuple[int, tuple[str, ...]]
_asked: Counter[Key] = Counter()
_kept: dict[Key, Path] = {}
_lock = Lock()


def kept_views(k: int, views: Sequence[str], make: Callable[[Any], None]) -> Path | None:
    """The database file with the views of K ranks; None the first time, and where it cannot be written.

    Args:
        k: the number of ranked candidates the base relations have columns for.
        views: those to keep, with what they rest on.
        make: fills an empty connection with base relations and the views on them.
    """
    key = (k, tuple(views))
    with _lock:
        _asked[key] += 1
        if _asked[key] > 1 and (key not in _kept or not _kept[key].is_file()):
            try:
                _kept[key] = _keep(make)
            except (OSError, duckdb.Error):
                return None
        return _kept.get(key)


def copy_views(connection: Any, kept: Path) -> bool:
    """Copy the views into a connection that has the base relations; whether that could be done."""
    with _lock:  # a file is attached to one database at a time
        try:
            connection.execute(f"ATTACH {quote(str(kept))} AS kept_views (READ_ONLY)")
            connection.execute("COPY FROM DATABASE kept_views TO memory (SCHEMA)")
            connection.execute("DETACH kept_views")
        except duckdb.Error:
            return False
    return True


def _keep(make: Callable[[Any], None]) -> Path:
    """A database file with the views alone, without what they rest on."""
    folder = Path(tempfile.mkdtemp(prefix="simko-views-"))
    atexit.register(_remove, folder, os.getpid())
    with duckdb.connect(":memory:") as source:
        make(source)
        for base in (*(f"all_{table}" for table in TABLES), "texts"):
            source.execute(f"DROP VIEW {base}")
        for (table,) in source.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            source.execute(f"DROP TABLE {table}")
        source.execute(f"ATTACH {quote(str(folder / 'views.duckdb'))} AS kept_views")
        source.execute("COPY FROM DATABASE memory TO kept_views (SCHEMA)")
    return folder / "views.duckdb"


def _remove(folder: Path, owner: int) -> None:
    """Not by a fork of the process, which would take the file from it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
