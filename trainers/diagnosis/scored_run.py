"""Scored responses as an ordinary run: kind `scored`, everything at step 0, so that every command and view reads it.

Everything is scored before anything is written: a run holds all of its responses or none, whatever ends the process.
That takes about 100 bytes of memory per token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...probes.recording.run_folder import describe, semantics, token_texts
from ...store.errors import RunExists
from ...store.layout.meaning import meaning_of
from ...store.layout.run import RUN_FILE, create_or_resume, next_attempt, write_vocabulary
from ...store.writing.batch import TokenBatch
from ...store.writing.recorder import Recorder
from ...store.writing.row_sampling import LoggedRows
from ..errors import ResponsesUnusable
from .encoding import Encoded, EncodedResponses
from .scorer import Scorer

TAU = 0.8
"""Quantile of the forking rule when nothing else is said."""
KIND = "scored"


@dataclass(frozen=True)
class Scored:
    """What was written.

    Attributes:
        run_dir: the run.
        responses, tokens: how many were scored.
        empty: responses without a token.
        too_long: left out.
    """

    run_dir: Path
    responses: int
    tokens: int
    empty: int
    too_long: int


def description(
    run_dir: Path, tokenizer: Any, *, k: int, temperature: float, tau: float, entropy: str, info: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of `run.json` of a scored run; `info` says the model and where the responses are from."""
    probe = semantics(k=k, temperature=temperature, tau=tau, rows=LoggedRows()) | {"entropy": entropy}
    if entropy == "none":
        probe |= {"forking": "none: whole distributions were not seen"}
    return describe(run_dir, None, tokenizer=tokenizer, info={"kind": KIND, "method": None, **info}, probe=probe)


def check_output(run_dir: Path) -> None:
    """See that a folder holds no run yet.

    Raises:
        RunExists: it does.
    """
    if (run_dir / RUN_FILE).exists():
        raise RunExists(f"{run_dir} already holds a run; give another --output")


def score_into(
    run_dir: Path,
    scorer: Scorer,
    encoded: EncodedResponses,
    described: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
    progress: Callable[[int], None] = lambda responses: None,
) -> Scored:
    """Score responses and write them as an attempt of a run, which is made where it is not there.

    Args:
        run_dir: the run's folder.
        scorer: gives the statistics.
        encoded: the responses.
        described: content of `run.json` (`description`).
        config: what the attempt's manifest says of where the responses are from.
        progress: told how many responses more are done.

    Raises:
        RunUnwritable: the folder cannot be written.
        ResponsesUnusable: the disk failed while writing.
        SimkoError: the model or the server fails.
    """
    batches: list[TokenBatch] = []
    for batch in scorer.batches(encoded.scored):
        batches.append(batch)
        progress(len(batch.response_id))
    create_or_resume(run_dir, described, resume=True)
    write_vocabulary(run_dir, token_texts(scorer.tokenizer, scorer.vocabulary))
    meaning = meaning_of(described)
    with Recorder(run_dir, k=scorer.k, attempt=next_attempt(run_dir), config=config, meaning=meaning) as recorder:
        recorder.put_responses(_columns([*encoded.scored, *encoded.empty], scorer.tokenizer))
        for batch in batches:
            recorder.put(batch)
        recorder.end_step(0)
    if recorder.error is not None:
        raise ResponsesUnusable(f"cannot write what was scored to {run_dir}: {recorder.error}")
    tokens = sum(len(item.token_ids) for item in encoded.scored)
    return Scored(run_dir, len(encoded.scored), tokens, len(encoded.empty), encoded.too_long)


def _columns(items: Sequence[Encoded], tokenizer: Any) -> dict[str, list[Any]]:
    """Rows of `responses`, in the order they were given; responses to one prompt are a group."""
    items = sorted(items, key=lambda item: item.number)
    groups = {prompt_id: place for place, prompt_id in enumerate(dict.fromkeys(i.response.prompt_id for i in items))}
    n = len(items)
    return {
        "generation": [0] * n,
        "step": [0] * n,
        "response_id": [item.number for item in items],
        "prompt_id": [item.response.prompt_id for item in items],
        "group_id": [groups[item.response.prompt_id] for item in items],
        "reward": [item.response.reward for item in items],
        "verdict": [item.response.verdict for item in items],
        "n_tokens": [len(item.token_ids) for item in items],
        "truncated": [item.response.truncated for item in items],
        "prompt": [_prompt_text(item, tokenizer) for item in items],
        "completion": [item.response.completion.encode("utf-8", "replace").decode() for item in items],
    }


def _prompt_text(item: Encoded, tokenizer: Any) -> str:
    """The prompt as given; chat messages as the model saw them."""
    prompt = item.response.prompt
    text = (
        prompt if isinstance(prompt, str) else tokenizer.decode(item.prompt_ids).removeprefix(tokenizer.bos_token or "")
    )
    return str(text).encode("utf-8", "replace").decode()
