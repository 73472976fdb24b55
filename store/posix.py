"""The two modules of POSIX systems that the store rests on: locks of files, and limits of a process."""

from __future__ import annotations

from .errors import PlatformUnsupported

try:
    import fcntl
    import resource
except ImportError as error:
    raise PlatformUnsupported(
        "this part of simko needs a POSIX system (Linux, macOS, or WSL on Windows): Python here has no file locks "
        "(fcntl) or limits of processes (resource)"
    ) from error

__all__ = ["fcntl", "resource"]
