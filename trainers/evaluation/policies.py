"""Which policy is evaluated: its weights, told apart from all others, and the run and step its results belong to.

Weights are known by a digest of the files that make them: names, sizes, the configuration, and bytes from sixteen
places of each file. Two checkpoints of one step that were trained twice have the same names and sizes; a copy of a
checkpoint in another folder is the same policy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model*.bin", "*.gguf")
_CONFIGS = ("config.json", "adapter_config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
_PLACES, _BYTES = 16, 1 << 16


@dataclass(frozen=True)
class Policy:
    """One checkpoint to evaluate.

    Attributes:
        name: as people know it: `first/checkpoint-20`, a hub id, the name it is served under.
        where: a folder, a `.gguf` file or a hub id that it can be loaded from; None where only a server has it.
        weights: digest of what it is.
        run_dir: the folder of the run that takes the results.
        step: optimizer steps done; 0 for a policy of no run.
        begins: entries of `run.json` where the run is made for its evaluations; None: the run is there.
    """

    name: str
    where: str | None
    weights: str
    run_dir: Path
    step: int
    begins: dict[str, Any] | None = None


def weights_of(where: str | Path) -> str:
    """The digest of a checkpoint's folder or file, or of the name of one that is not here."""
    path = Path(where).expanduser()
    if not path.exists():
        return _digest(f"name {where}".encode())
    folder = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else sorted({file for pattern in _WEIGHTS for file in path.glob(pattern)})
    parts = [(folder / name).read_bytes() for name in _CONFIGS if path.is_dir() and (folder / name).is_file()]
    for file in files:
        parts.append(f"{file.name} {file.stat().st_size}".encode())
        parts += _samples(file)
    return _digest(*parts)


def served_weights(model: str) -> str:
    """The digest of a policy of which only its name on a server is known."""
    return _digest(f"served {model}".encode())


def _samples(file: Path) -> list[bytes]:
    """Bytes from places evenly apart, the whole file where it is small."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= _PLACES * _BYTES:
            return [opened.read()]
        result = []
        for place in range(_PLACES):
            opened.seek(place * (size - _BYTES) // (_PLACES - 1))
            result.append(opened.read(_BYTES))
        return result


def _digest(*parts: bytes) -> str:
    result = hashlib.sha256()
    for part in parts:
        result.update(hashlib.sha256(part).digest())
    return result.hexdigest()[:16]
