"""Whether a server is there and serves the model: asked once, before anything is drawn, each fault by its name."""

from __future__ import annotations

import os
from typing import Any

import httpx2

from ....store.errors import nearest
from ...errors import ServerUnusable

SECONDS = 20.0
"""How long the list of models may take: a server that needs longer will not serve responses either."""


def auth_headers(variable: str) -> dict[str, str]:
    """The header with the key that an environment variable holds; none where it is not set."""
    key = os.environ.get(variable)
    return {"Authorization": f"Bearer {key}"} if key else {}


def served_model(url: str, model: str | None, headers: dict[str, str], seconds: float = SECONDS) -> str:
    """The name that a server serves a model under.

    Args:
        url: up to `/v1`.
        model: the name wanted; None where it serves one.
        headers: of the request.
        seconds: how long it may take, `SECONDS` at most.

    Raises:
        ServerUnusable: no server, too slow, no such address, no permission, no list, or another model.
    """
    names = model_names(url, headers, min(seconds, SECONDS))
    if model is None:
        if len(names) == 1:
            return names[0]
        raise ServerUnusable(f"the server at {url} serves {', '.join(names) or 'no model'}; say which with --model")
    if model in names:
        return model
    near = nearest(model, names)
    advice = f"did you mean --model {near}?" if near else "give one of these with --model"
    raise ServerUnusable(f"the server at {url} serves {', '.join(names) or 'no model'}, not {model}; {advice}")


def model_names(url: str, headers: dict[str, str], seconds: float) -> list[str]:
    """The models that a server says it serves.

    Raises:
        ServerUnusable: no server, too slow, no such address, no permission, or no list.
    """
    try:
        response = httpx2.get(f"{url.rstrip('/')}/models", headers=headers, timeout=seconds)
    except httpx2.TimeoutException as error:
        raise ServerUnusable(
            f"the server at {url} has not answered within {seconds:g} s; wait until it is up, or check --server"
        ) from error
    except (httpx2.TransportError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise ServerUnusable(f"no server answers at {url} ({error}); start it, or check --server") from error
    if response.status_code in (401, 403):
        raise ServerUnusable(f"the server at {url} asks for a key ({response.status_code}); see --api_key_variable")
    if response.status_code != 200:
        raise ServerUnusable(
            f"the server at {url} answers {response.status_code} to /models; the address ends in /v1 as a rule"
        )
    return _names(response, url)


def _names(response: Any, url: str) -> list[str]:
    try:
        return [str(entry["id"]) for entry in response.json()["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ServerUnusable(f"{url}/models holds no list of models; is it an OpenAI-compatible server?") from error
