"""The data: schema, run folder, writer, manifest, SQL catalog and metrics. No torch, no trainer.

The names are loaded when they are first used, so that asking for an error class does not load DuckDB.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import SimkoError
    from .layout.schema import SCHEMA_VERSION
    from .reading.catalog import Catalog, open
    from .reading.live_files import LiveFile, files
    from .writing.batch import TokenBatch
    from .writing.recorder import Recorder

_HOMES = {
    "SCHEMA_VERSION": "layout.schema",
    "Catalog": "reading.catalog",
    "LiveFile": "reading.live_files",
    "Recorder": "writing.recorder",
    "SimkoError": "errors",
    "TokenBatch": "writing.batch",
    "files": "reading.live_files",
    "open": "reading.catalog",
}

__all__ = ["SCHEMA_VERSION", "Catalog", "LiveFile", "Recorder", "SimkoError", "TokenBatch", "files", "open"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
