"""Models by name: the built-in base policy, a hub id, a local checkpoint folder, or a `.gguf` file.

What comes back can be trained with TRL and saved with `save_pretrained`: float32 unless asked otherwise, every weight
found in the checkpoint, a tokenizer that pads on the left, with another token than the end token where there is one.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound, ModelUnreadable, PackageMissing, TokenizerMissing
from ..hub import hub_fault, is_hub_id
from .base_policy import BASE_POLICIES
from .packaged import PACKAGED, packaged_file

DEFAULT = "countdown-base"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_SHARED_OPTIONS = ("trust_remote_code", "revision", "token", "cache_dir")


def load_model(name: str | Path | None = None, *, dtype: Any = "float32", **options: Any) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer.

    Args:
        name: a built-in policy (`countdown-base`, which None is too, `countdown4-base`, `tree-base`), one of
            `PACKAGED`, a hub id, a local checkpoint folder, or a `.gguf` file.
        dtype: of the weights, `float32`, `bfloat16`, `auto`, …
        **options: further arguments of `AutoModelForCausalLM.from_pretrained`.

    Returns:
        (model, tokenizer).

    Raises:
        ModelNotFound: nothing at the path, or the hub cannot be asked.
        ModelUnreadable: an incomplete or corrupt checkpoint, or one that is no causal language model.
        TokenizerMissing: no readable tokenizer beside the weights.
        PackageMissing: a `.gguf` file without the `gguf` package.
    """
    where, shown, source = _source(name)

    model = _load_weights(where, shown, dtype=dtype, **source, **options)
    shared = {key: options[key] for key in _SHARED_OPTIONS if key in options}
    tokenizer = _load_tokenizer(where, shown, **source, **shared)
    if source:
        model = _without_gguf(model)
    _check_vocabulary(model, tokenizer, shown)
    set_padding(model, tokenizer)
    return model, tokenizer


def load_tokenizer(name: str | Path) -> Any:
    """The tokenizer of a model, as `load_model` gives it, without the weights.

    Raises:
        ModelNotFound, ModelUnreadable, TokenizerMissing, PackageMissing: as `load_model`.
    """
    where, shown, source = _source(name)
    return _load_tokenizer(where, shown, **source)


def check_model(name: str | Path) -> None:
    """See that there is a model of a name, as far as can be seen in a moment.

    Raises:
        ModelNotFound, ModelUnreadable, PackageMissing: as `load_model`.
    """
    _source(name)


def _source(name: str | Path | None) -> tuple[str, str, dict[str, Any]]:
    """Where a model is loaded from, what it is called in messages, and what of a `.gguf` file says so."""
    where = str(packaged_file(str(name)) if name in PACKAGED else BASE_POLICIES.get(str(name or DEFAULT), name))
    path = Path(where).expanduser()
    if path.suffix == ".gguf":
        _check_gguf(path)
        return str(path.parent), str(path), {"gguf_file": path.name}
    if path.exists():
        _check_folder(path)
        return str(path), str(path), {}
    _check_hub(where)
    return where, where, {}


def _check_gguf(path: Path) -> None:
    if not path.is_file():
        raise ModelNotFound(f"no file {path}; give an existing .gguf file, a checkpoint folder or a hub id")
    if importlib.util.find_spec("gguf") is None:
        raise PackageMissing(f"reading {path.name} needs the gguf package: pip install 'simko[gguf]'")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelUnreadable(f"{path} is not a GGUF file (it does not begin with GGUF); download it again")


def _check_folder(path: Path) -> None:
    if path.is_file():
        raise ModelUnreadable(f"{path} is a file; give the checkpoint's folder, or a .gguf file")
    if (path / "adapter_config.json").is_file():
        return
    if not (path / "config.json").is_file():
        raise ModelUnreadable(
            f"{path} has no config.json; a checkpoint folder holds config.json, weights and a tokenizer"
        )
    if not any(file for pattern in _WEIGHTS for file in path.glob(pattern)):
        raise ModelUnreadable(f"{path} has no weights (model.safetensors); copy the whole checkpoint")


def _check_hub(name: str) -> None:
    if not is_hub_id(name):
        raise ModelNotFound(f"no model at {name}; give an existing checkpoint folder, a .gguf file or a hub id")
    fault = hub_fault()
    if fault is not None and not _cached(name):
        raise ModelNotFound(
            f"no folder {name} here, and as a hub id it cannot be loaded: {fault}; give a local checkpoint folder"
        )


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _load_weights(where: str, shown: str, **options: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model, report = AutoModelForCausalLM.from_pretrained(where, output_loading_info=True, **options)
    except torch.OutOfMemoryError:
        raise
    except OSError as error:
        fault = ModelUnreadable if Path(where).exists() else ModelNotFound
        raise fault(f"cannot load the model {shown}: {_one_line(error)}") from error
    except Exception as error:  # damaged files surface as errors of every kind, from three libraries
        raise ModelUnreadable(
            f"cannot load the model {shown}: {_one_line(error)}; check the checkpoint or copy it again"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelUnreadable(
            f"the checkpoint {shown} lacks {len(missing)} weights, {missing[0]} among them; copy it again, whole"
        )
    return model


def _load_tokenizer(where: str, shown: str, **options: Any) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(where, padding_side="left", **options)
    except Exception as error:  # a missing tokenizer and a damaged one surface as errors of every kind
        raise TokenizerMissing(
            f"no readable tokenizer in {shown}: {_one_line(error)}; "
            "put tokenizer.json and tokenizer_config.json beside the weights"
        ) from error


def _one_line(error: Exception) -> str:
    """The first sentence of a library's message."""
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    return re.split(r"(?<=[a-z)'\"])\.\s", text)[0][:200].rstrip(".")


def _without_gguf(model: Any) -> Any:
    """The same model as if made here: transformers refuses to save one that came from a GGUF file.

    Its configuration says no longer how the file was packed. A checkpoint saved with that is refused by vLLM, and says
    of float32 weights that they are quantized.
    """
    from copy import deepcopy

    from transformers import AutoModelForCausalLM

    config = deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain.eval()


def _check_vocabulary(model: Any, tokenizer: Any, shown: str) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if max(tokenizer.get_vocab().values(), default=0) >= rows:
        raise ModelUnreadable(
            f"the tokenizer of {shown} has {len(tokenizer)} tokens, the model {rows} embeddings; "
            "they do not belong together"
        )
    if tokenizer.eos_token_id is None:
        raise TokenizerMissing(f"the tokenizer of {shown} names no end token; set eos_token in tokenizer_config.json")


def set_padding(model: Any, tokenizer: Any) -> None:
    """Pad on the left with a token of the vocabulary that is not the end token, where there is one to take.

    Nothing is added to the vocabulary: a new token would need a new embedding. Where the end token is the only one to
    pad with, responses are still distinguished from padding by their first end token.
    """
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = _pad_token(tokenizer)
    for config in (model.config, model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id


def _pad_token(tokenizer: Any) -> str:
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    candidates = [token for token in special if "pad" in token.lower()]
    candidates += [token for token in special if token == "<|endoftext|>"]
    candidates += [token for token in (tokenizer.unk_token, tokenizer.bos_token) if token is not None]
    return next((str(token) for token in candidates if token != tokenizer.eos_token), str(tokenizer.eos_token))
