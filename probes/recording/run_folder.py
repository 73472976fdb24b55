"""Opening the folder a probe writes to: `run.json`, the vocabulary and this process's recorder."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ...store.layout.manifest import check_meaning
from ...store.layout.meaning import meaning_of
from ...store.layout.run import create_or_resume, next_attempt, write_vocabulary
from ...store.writing.recorder import Recorder
from ...store.writing.row_sampling import LoggedRows
from ..forking import RULE
from ..head.models import vocabulary_size

TIE_RULE = "equal logits are ordered by token id, lowest first; rank = 1 + number of strictly larger logits"
_PACKAGES = ("simko", "torch", "transformers", "trl", "accelerate", "peft", "verl")


class OpenedRun(NamedTuple):
    """A recorder and this process's place among those that write to the run."""

    recorder: Any
    rank: int
    world_size: int


def open_run(
    run_dir: Path,
    model: Any,
    *,
    k: int,
    temperature: float,
    tau: float,
    tokenizer: Any,
    info: Mapping[str, Any],
    recorder: Any,
    resume: bool,
    change_meaning: bool,
    start_step: int,
    rows: LoggedRows,
) -> OpenedRun:
    """Write `run.json` and the vocabulary on the first process and open a recorder on each.

    With a `recorder` given, the run folder is the caller's and nothing is written here.

    Raises:
        RunExists, RunUnwritable, SchemaTooNew, RunBusy: about the folder.
        MeaningChanged: the run's figures would mean something else from here on, and `change_meaning` is False.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank, world_size = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
    if recorder is not None:
        return OpenedRun(recorder, rank, world_size)
    attempt: list[Any] = [None]
    probe = semantics(k=k, temperature=temperature, tau=tau, rows=rows)
    described = describe(run_dir, model, tokenizer=tokenizer, info=info, probe=probe)
    meaning = meaning_of(described)
    if rank == 0:
        try:
            if resume and not change_meaning:
                check_meaning(run_dir, meaning)
            create_or_resume(run_dir, described, resume=resume)
            if tokenizer is not None:
                write_vocabulary(run_dir, token_texts(tokenizer, _vocabulary(model, tokenizer)))
            attempt = [next_attempt(run_dir)]
        except Exception as error:
            attempt = [error]
    if distributed:  # the other processes must learn the attempt, or why there is none
        torch.distributed.broadcast_object_list(attempt)
    if isinstance(attempt[0], Exception):
        raise attempt[0]
    opened = Recorder(
        run_dir,
        k=k,
        attempt=attempt[0],
        start_step=start_step,
        rank=rank,
        world_size=world_size,
        config=dict(info.get("config", {})),
        meaning=meaning,
        rows=rows,
    )
    return OpenedRun(opened, rank, world_size)


def describe(
    run_dir: Path, model: Any, *, tokenizer: Any, info: Mapping[str, Any], probe: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `run.json`: what can be seen here, then `info` on top."""
    return {
        "run": run_dir.name,
        "method": "unknown",
        "hyperparameters": {},
        "model": getattr(getattr(model, "config", None), "_name_or_path", "") or type(model).__name__,
        "tokenizer": getattr(tokenizer, "name_or_path", None),
        "task": None,
        "dataset": None,
        "versions": versions(),
        "config": {},
        **info,
        "probe": probe,
    }


def semantics(*, k: int, temperature: float, tau: float, rows: LoggedRows) -> dict[str, Any]:
    """What the logged numbers mean, for `run.json`.

    Log-probabilities are `raw`: of softmax(logits / temperature), before any sampling filter such as top-k or top-p.
    """
    return {
        "k": k,
        "temperature": temperature,
        "logprobs": "raw",
        "entropy": "exact",
        "forking": RULE.format(tau=tau),
        "tie_rule": TIE_RULE,
        "rows": rows.describe(),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that shape the numbers."""
    result = {}
    for package in _PACKAGES:
        try:
            result[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return result


def token_texts(tokenizer: Any, size: int) -> list[str]:
    """The text of each token id, with the space a token begins with; ids the tokenizer lacks have the empty text."""
    known = min(size, len(tokenizer))
    tokens = tokenizer.convert_ids_to_tokens(list(range(known)))
    texts = []
    for index, token in enumerate(tokens):
        text = "" if token is None else token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n")
        # What is left of byte-level spelling is not text: let the tokenizer spell it
        texts.append(text if text.isascii() else tokenizer.decode([index]))
    return texts + [""] * (size - known)


def _vocabulary(model: Any, tokenizer: Any) -> int:
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return len(tokenizer) if head is None else max(vocabulary_size(model, head), len(tokenizer))
