"""Whether the Hugging Face hub can be reached: known in a moment, not after a minute of retries."""

from __future__ import annotations

import os
import socket
from functools import cache
from urllib.parse import urlsplit

SECONDS = 5.0
"""How long a connection may take."""


def hub_fault() -> str | None:
    """Why the hub cannot be reached, in a few words; None when nothing speaks against it.

    Behind a proxy there is nothing to test by oneself, so the answer is None.
    """
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return "offline mode is on (HF_HUB_OFFLINE)"
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return None
    return _connection_fault(ENDPOINT)


@cache
def _connection_fault(endpoint: str) -> str | None:
    address = urlsplit(endpoint)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=SECONDS).close()
    except OSError as error:
        return f"{address.hostname} cannot be reached ({(error.strerror or str(error)).rstrip('.')})"
    return None


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a hub id, `owner/name` or `name`, and is no path."""
    parts = name.split("/")
    return len(parts) <= 2 and all(part and part[0] not in ".~" for part in parts)
