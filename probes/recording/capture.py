"""What a forward shows of its next-token distributions: from a module's inputs and output to `TokenStats`.

Two sources, in this order: the statistics of a ranked head (`output.stats`), or ready logits (`output.logits`,
`output["logits"]`, or the output itself). With ready logits the scored token at position t is input t + 1, and the
scored positions are those with a label (when labels are given), else those that the attention mask keeps together
with the position before, else all. Logits of a prompt's learned positions (PEFT) are left out.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from ..errors import ProbeCannotSee, TooManyCandidates
from ..head.models import (
    causal_lm,
    check_causal,
    check_predicts_next_token,
    check_whole,
    quiet_eval,
    virtual_tokens,
)
from ..statistics.logit_transform import LogitTransform
from ..statistics.ranked_statistics import ranked_statistics
from ..statistics.token_stats import RowStats, TokenStats
from .documents import BOUNDARIES

INPUTS = ("input_ids", "attention_mask", "labels", *BOUNDARIES)
"""The arguments of a forward that are looked at."""
_CHUNK_BYTES = 8 << 20
_ADVICE = (
    "let its forward return logits (return_dict=True; no use_liger_kernel or other fused loss), "
    "or score with model(…, labels=labels, ranked=True) after simko.probes.add_ranked_head(model, k=…)"
)


def is_training_forward(module: torch.nn.Module) -> bool:
    """Whether the forward that is running is one that a loss comes from, for the first time."""
    recomputing = torch._C._current_graph_task_id() != -1  # activation checkpointing, inside backward
    return module.training and torch.is_grad_enabled() and not recomputing


def inputs_of(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What a call says of its tokens, whether by position or by name: `INPUTS` (None where not given), and
    `virtual_tokens`, how many positions the module puts before them."""
    result = dict(kwargs)
    if args:
        names = [name for name in inspect.signature(module.forward).parameters if name != "self"]
        result.update(zip(names, args, strict=False))
    return {name: result.get(name) for name in INPUTS} | {"virtual_tokens": virtual_tokens(module)}


def capture(output: Any, inputs: dict[str, Any], k: int, temperature: float) -> TokenStats:
    """The statistics of a forward, detached, with the first `k` candidates.

    Args:
        output: what the forward returned.
        inputs: as from `inputs_of`.
        k: number of ranked candidates K.
        temperature: what ready logits are divided by; a ranked head has its own.

    Raises:
        ProbeCannotSee: the output shows neither statistics nor logits, or the scored tokens are unknown.
        TooManyCandidates: K exceeds the vocabulary.
    """
    stats = getattr(output, "stats", None)
    if isinstance(stats, TokenStats):
        stats = stats.detach()
        if inputs["virtual_tokens"] and inputs["input_ids"] is not None:
            stats = stats.last(min(stats.mask.size(1), inputs["input_ids"].size(1) - 1))
        return stats._replace(top_logprob=stats.top_logprob[..., :k], top_id=stats.top_id[..., :k])
    logits = logits_of(output)
    if logits is None:
        raise ProbeCannotSee(f"the forward returned {type(output).__name__} without logits: {_ADVICE}")
    if inputs["input_ids"] is None:
        raise ProbeCannotSee(
            "the forward was called without input_ids, so its scored tokens are unknown: pass input_ids"
        )
    return _from_logits(logits, inputs, k, LogitTransform(temperature=temperature))


def logits_of(output: Any) -> torch.Tensor | None:
    """(B, T, V) logits in a model's output, or None."""
    if isinstance(output, torch.Tensor):
        logits: Any = output
    elif isinstance(output, dict) and not hasattr(output, "logits"):
        logits = output.get("logits")
    else:
        logits = getattr(output, "logits", None)
    return logits if isinstance(logits, torch.Tensor) and logits.dim() == 3 else None


def _of_input_ids(logits: torch.Tensor, ids: torch.Tensor, virtual: int) -> torch.Tensor:
    """The logits without those of learned positions before `input_ids`."""
    extra = logits.size(1) - ids.size(1)
    if extra > virtual:
        raise ProbeCannotSee(
            f"the forward returned logits at {logits.size(1)} positions for {ids.size(1)} input_ids, so which logits "
            "belong to which token is unknown: let it return those of input_ids alone"
        )
    return logits[:, max(extra, 0) :]


@torch.no_grad()
def _from_logits(logits: torch.Tensor, inputs: dict[str, Any], k: int, transform: LogitTransform) -> TokenStats:
    logits = _of_input_ids(logits, inputs["input_ids"], inputs["virtual_tokens"])
    # Fewer logits than inputs (logits_to_keep): they belong to the last positions.
    width = logits.size(1) - 1
    start = inputs["input_ids"].size(1) - width
    tokens = inputs["input_ids"][:, start:].to(logits.device)
    if inputs["labels"] is not None:
        mask = inputs["labels"][:, start:] != -100
    elif inputs["attention_mask"] is not None and inputs["attention_mask"].dim() == 2:
        attended = inputs["attention_mask"][:, -inputs["input_ids"].size(1) :].bool()
        mask = attended[:, start:] & attended[:, start - 1 : -1]  # nothing predicts the first token after padding
    else:
        mask = torch.ones_like(tokens, dtype=torch.bool)
    mask = mask.to(logits.device)
    row, column = mask.nonzero(as_tuple=True)
    size = max(1, _CHUNK_BYTES // (4 * logits.size(2)))
    # Indexed chunk by chunk: logits[:, :-1][mask] would copy all of them
    chunks = [
        ranked_statistics(logits[rows, columns], tokens[rows, columns], k, transform)
        for rows, columns in zip(row.split(size), column.split(size), strict=True)
    ]
    return RowStats(*(torch.cat(parts) for parts in zip(*chunks, strict=True))).scatter(mask, tokens)


def check_visible(model: Any, k: int, *, run: bool = True) -> None:
    """See that a model's own forward shows whole distributions.

    Args:
        model: as the trainer calls it.
        k: number of ranked candidates K.
        run: send a few tokens through it, as in training with labels. Not done for parameters that are not
            materialised on this process (meta device, ZeRO-3, FSDP).

    Raises:
        ProbeCannotSee: no logits come out, they are not of the next token of `input_ids`, or they are split over
            processes.
        TooManyCandidates: K is not in 1..V.
    """
    base, name = causal_lm(model), type(model).__name__
    check_predicts_next_token(base)
    if hasattr(base, "get_output_embeddings"):
        check_whole(base, base.get_output_embeddings())
    if not run:
        return
    parameters = list(model.parameters())
    if any(p.is_meta or hasattr(p, "ds_id") or hasattr(p, "placements") for p in parameters):
        return
    ids = torch.arange(4, device=parameters[0].device if parameters else None).unsqueeze(0)
    accepted = inspect.signature(model.forward).parameters
    by_name = "input_ids" in accepted or any(p.kind is p.VAR_KEYWORD for p in accepted.values())

    def run_on(tokens: torch.Tensor) -> torch.Tensor:
        labels = {"labels": tokens} if "labels" in accepted else {}
        try:
            output = model(input_ids=tokens, **labels) if by_name else model(tokens, **labels)
        except Exception as error:
            raise ProbeCannotSee(
                f"{name} cannot be run on input_ids alone ({type(error).__name__}: {error}): "
                "pass verify=False to attach without a look at its logits"
            ) from error
        logits = logits_of(output)
        if logits is None:
            raise ProbeCannotSee(f"{name} returns no logits: {_ADVICE}")
        return logits

    with quiet_eval(model), torch.no_grad():
        model.training = True  # of the top module only: a fused loss drops the logits in training
        logits = run_on(ids)
        _of_input_ids(logits, ids, virtual_tokens(model))
        if not 1 <= k <= logits.size(2):
            raise TooManyCandidates(k, logits.size(2))
        check_causal(name, run_on, ids)
