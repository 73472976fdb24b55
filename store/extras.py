"""Optional parts of an installation: which extra of the package brings what a command needs, said in one line.

    require("trl", extra="train", command="simko-train")

Looks for the modules without loading them.
"""

from __future__ import annotations

from importlib.util import find_spec

from .errors import ExtraMissing


def require(*modules: str, extra: str, command: str | None = None) -> None:
    """See that the modules of an extra are installed.

    Args:
        modules: top-level names of what will be imported.
        extra: the extra of this package that brings them.
        command: who needs them, as a person types it; None where the message is printed after its name anyway.

    Raises:
        ExtraMissing: one of them is not installed; the message has the line to type.
    """
    if all(map(_installed, modules)):
        return
    needs = f"needs the {extra} extra: pip install 'simko[{extra}]'"
    raise ExtraMissing(needs if command is None else f"{command} {needs}")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # refused by an import hook; a module without a spec
        return False
