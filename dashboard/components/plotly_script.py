"""Plotly's script as a file that Streamlit serves, written once from the Python package, not from the network."""

from __future__ import annotations

import os
from pathlib import Path

from plotly.offline import get_plotlyjs, get_plotlyjs_version


def put_script(folder: Path) -> Path:
    """Put the script into `folder` unless it is there; returns its path.

    Raises:
        OSError: the folder cannot be made or written.
    """
    script = folder / f"plotly-{get_plotlyjs_version()}.min.js"
    if not script.exists():
        folder.mkdir(exist_ok=True)
        temporary = folder / f".{os.getpid()}.js"
        temporary.write_text(get_plotlyjs(), encoding="utf-8")
        os.replace(temporary, script)
    return script
