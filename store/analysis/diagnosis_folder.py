"""The folder of a diagnosis: `diagnosis.json`, two runs and two more that score each other's responses.

    diagnosis.json       what is compared: names and weights of both models, benchmark, settings
    base/                the base model's responses, judged, under its own probabilities
    tuned/               the tuned model's, under its own
    base-under-tuned/    the base model's responses under the tuned model's probabilities
    tuned-under-base/    the tuned model's responses under the base model's

`response_id` and `position` mean the same token in the two runs of one model's responses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunNotFound
from ..layout.run import write_atomically

FILE = "diagnosis.json"
BASE, TUNED = "base", "tuned"
SIDES = (BASE, TUNED)
_VERSION = 1


def cell(whose: str, under: str) -> str:
    """The run with the responses of one side under the probabilities of another."""
    return whose if whose == under else f"{whose}-under-{under}"


CELLS = tuple((whose, under) for whose in SIDES for under in SIDES)


def is_diagnosis(folder: Path) -> bool:
    """Whether a folder holds a diagnosis."""
    return (folder / FILE).is_file()


def write_diagnosis(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what is compared.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, json.dumps({"version": _VERSION, **content}, indent=1, ensure_ascii=False))


def read_diagnosis(folder: Path) -> dict[str, Any]:
    """What is compared.

    Raises:
        RunNotFound: there is no diagnosis, or it cannot be read.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise RunNotFound(f"{folder} holds a diagnosis of another version of simko; update simko")
        return {side: str(content[side]) for side in SIDES} | dict(content)
    except OSError as error:
        raise RunNotFound(f"no diagnosis at {folder} ({FILE}: {error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunNotFound(f"{folder / FILE} is damaged; the runs beside it can still be read") from error
