"""The ranked LM head: log-probabilities, entropies and ranked statistics in one pass, without `[T, V]` logits.

`add_ranked_head(model, k=…)` patches `model.forward`, so that `model(…, labels=labels, ranked=True)` runs the
backbone and then the LM head over the scored positions only, chunk by chunk, folding each chunk of logits into
`TokenStats`. Calls with `fused_lm_head=True`, as TRL's trainers make them, are answered the same way. Every other call,
`generate` included, goes to the previous forward unchanged.

Invariants: the head *module* is called (LoRA on the head, biases, quantised heads and FSDP2 or ZeRO-3 hooks work as
anywhere else); under gradient, chunks are recomputed in backward when there is more than one, with the statistics kept
from the first pass; a batch without scored positions gives a differentiable zero.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ..errors import HeadMismatch, TooManyCandidates
from ..statistics.logit_transform import LogitTransform
from .chunked import fold
from .models import (
    causal_lm,
    check_causal,
    last_hidden_state,
    logit_transform,
    quiet_eval,
    router_loss,
    vocabulary_head,
    vocabulary_size,
)
from .trl_head import trl_fused_head

if TYPE_CHECKING:
    from .output import RankedOutput

_STATE = "_simko_ranked_head"


@dataclass
class _Settings:
    """What the patched forward of one model works by; shared by all `RankedHead` handles on it."""

    transform: LogitTransform
    chunk_bytes: int | None
    float32_head: bool
    forward: Any = None  # ours
    previous: Any = None  # what was on the instance before, None for the forward of the class
    users: dict[object, int] = field(default_factory=dict)  # each with the K it asked for

    @property
    def k(self) -> int:
        return max(self.users.values())


class RankedHead:
    """One user's hold on the ranked head of a model; `remove()` lets go of it.

    Several users may share a model: the head then ranks as many candidates as the most demanding of them asks for, and
    each takes the first k of `stats.top_logprob`.

    Attributes:
        k: the number of candidates this user asked for.
        temperature: what the logits are divided by.
    """

    def __init__(self, model: torch.nn.Module, k: int) -> None:
        self._model = model
        self.k = k
        self._settings: _Settings = model.__dict__[_STATE]
        self._user = object()
        self._settings.users[self._user] = k

    @property
    def temperature(self) -> float:
        """What the logits are divided by."""
        return self._settings.transform.temperature

    def remove(self) -> None:
        """Let go of the head; the last user's leaving restores the previous forward. Safe to call twice."""
        self._settings.users.pop(self._user, None)
        forward = self._model.__dict__.get("forward")
        # Where somebody has wrapped our forward since, it stays in place and passes every call on.
        if not self._settings.users and getattr(forward, "__func__", None) is self._settings.forward:
            if self._settings.previous is None:
                del self._model.__dict__["forward"]
            else:
                self._model.__dict__["forward"] = self._settings.previous
            del self._model.__dict__[_STATE]


def add_ranked_head(
    model: torch.nn.Module,
    *,
    k: int,
    temperature: float | None = None,
    chunk_bytes: int | None = None,
    verify: bool = True,
) -> RankedHead:
    """Let `model` answer `ranked=True` and `fused_lm_head=True` calls with ranked statistics.

    Args:
        model: a Hugging Face causal language model, also wrapped by PEFT, DDP or `torch.compile`.
        k: number of ranked candidates K.
        temperature: what the logits are divided by; None takes that of a ranked or TRL head already there, else 1.
        chunk_bytes: float32 bytes of logits held at a time; None chooses by device.
        verify: compare with the model's own forward on a few tokens. Skipped for parameters that are not materialised
            on this process (meta device, ZeRO-3, FSDP).

    Raises:
        TooManyCandidates: K is not in 1..V.
        ProbeCannotSee: no LM head or backbone is found, or its vocabulary is sharded over processes.
        HeadMismatch: the model computes its logits in a way not known here, or heads with another temperature or
            precision are there already.
    """
    base = causal_lm(model)
    head = vocabulary_head(base)
    vocabulary = vocabulary_size(base, head)
    if not 1 <= k <= vocabulary:
        raise TooManyCandidates(k, vocabulary)
    settings: _Settings | None = base.__dict__.get(_STATE)
    if settings is not None:
        if settings.users and temperature not in (None, settings.transform.temperature):
            raise HeadMismatch(
                f"the model already has a ranked head at temperature {settings.transform.temperature:g}, "
                f"not {temperature:g}: give the probe and the trainer the same temperature"
            )
        if temperature is not None:  # our forward had stayed behind, without users
            settings.transform = settings.transform._replace(temperature=float(temperature))
        return RankedHead(base, k)

    trl_head = trl_fused_head(base)
    if trl_head is not None and temperature not in (None, trl_head["temperature"]):
        raise HeadMismatch(
            f"the trainer scores at temperature {trl_head['temperature']:g}, not {temperature:g}: "
            f"leave out temperature=… to follow the trainer"
        )
    if trl_head is not None:
        unknown = set(trl_head["outputs"]) - {"log_probs", "entropy", "log_sum_sq_probs", "is_top1"}
        if unknown:
            raise HeadMismatch(
                f"this trainer needs {', '.join(sorted(unknown))} from its LM head, which a ranked head does not give: "
                "probe an RL trainer (GRPO, RLOO), or a plain loop over this model"
            )
        temperature = trl_head["temperature"]
    transform = logit_transform(base)._replace(temperature=1.0 if temperature is None else float(temperature))
    float32_head = bool(trl_head and trl_head["cast_lm_head_to_fp32"])
    settings = _Settings(transform, chunk_bytes, float32_head)
    if verify:
        _verify(base, settings, k)
    _patch(base, settings)
    return RankedHead(base, k)


def has_ranked_head(model: torch.nn.Module) -> bool:
    """Whether `add_ranked_head` has been here."""
    return _STATE in model.__dict__


def _patch(model: torch.nn.Module, settings: _Settings) -> None:
    class_forward = type(model).forward

    # Keeps the signature of the class: `generate` validates its keyword arguments against it.
    @functools.wraps(class_forward)
    def forward(
        self: Any,
        *args: Any,
        ranked: bool = False,
        fused_lm_head: bool = False,
        labels: torch.Tensor | None = None,
        shift_labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> Any:
        settings: _Settings = self.__dict__[_STATE]  # its own, also in a deep copy of the model
        if settings.users and (ranked or fused_lm_head):
            return _score(self, settings, args, kwargs, labels, shift_labels, num_items_in_batch)
        given = {"labels": labels, "shift_labels": shift_labels, "num_items_in_batch": num_items_in_batch}
        kwargs.update({name: value for name, value in given.items() if value is not None})
        if fused_lm_head:
            kwargs["fused_lm_head"] = True
        if ranked:
            raise TypeError("ranked=True, but the ranked head was removed: call add_ranked_head(model, k=…) again")
        previous = settings.previous
        return class_forward(self, *args, **kwargs) if previous is None else previous(*args, **kwargs)

    settings.forward, settings.previous = forward, model.__dict__.get("forward")
    model.__dict__["forward"] = types.MethodType(forward, model)
    model.__dict__[_STATE] = settings


def _score(
    model: Any,
    settings: _Settings,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    labels: torch.Tensor | None,
    shift_labels: torch.Tensor | None,
    num_items_in_batch: torch.Tensor | int | None,
) -> RankedOutput:
    if labels is None and shift_labels is None:
        raise TypeError("a ranked forward needs labels=… (B, T): the scored tokens, -100 where nothing is scored")
    kwargs["use_cache"] = False
    config = model.config.get_text_config()
    if getattr(config, "output_router_logits", False):
        kwargs.setdefault("output_router_logits", True)
    # The backbone and the head are looked up on each call: FSDP and PEFT replace them after the patch.
    backbone_output = model.base_model(*args, **kwargs)
    hidden = last_hidden_state(backbone_output)
    if shift_labels is None:
        assert labels is not None
        hidden, targets = hidden[:, :-1], labels[:, 1:]
    else:
        targets = shift_labels
    head = model.get_output_embeddings()
    device = next((p.device for p in head.parameters() if p.device.type != "meta"), hidden.device)
    hidden, targets = hidden.to(device), targets.to(device)
    mask = targets != -100
    with _head_precision(settings, hidden):
        rows = fold(
            head,
            hidden[mask].float() if settings.float32_head else hidden[mask],
            targets[mask],
            k=settings.k,
            transform=settings.transform,
            vocabulary=vocabulary_size(model, head),
            chunk_bytes=settings.chunk_bytes,
        )
    stats = rows.scatter(mask, targets)

    count = mask.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
    loss = -stats.logprob.sum() / count
    aux_loss = None
    if kwargs.get("output_router_logits"):
        aux_loss = router_loss(config, model, backbone_output.router_logits, kwargs.get("attention_mask"))
        loss = loss + getattr(config, "router_aux_loss_coef", 0.0) * aux_loss
    from .output import RankedOutput  # here, so that a probe of ready logits does without transformers

    return RankedOutput(
        loss=loss,
        log_probs=stats.logprob,
        entropy=stats.entropy,
        log_sum_sq_probs=stats.collision.log().masked_fill(~mask, 0),
        is_top1=(stats.top_id[..., 0] == stats.token_id) & mask,
        label_mask=mask,
        aux_loss=aux_loss,
        stats=stats,
    )


@contextmanager
def _head_precision(settings: _Settings, hidden: torch.Tensor) -> Iterator[None]:
    """A head that TRL holds in float32 (`cast_lm_head_to_fp32`) runs outside autocast."""
    with torch.autocast(hidden.device.type, enabled=False) if settings.float32_head else nullcontext():
        yield


def _verify(model: Any, settings: _Settings, k: int) -> None:
    """Compare the head's logits with those of the model's own forward on a few tokens."""
    if any(p.is_meta or hasattr(p, "ds_id") or hasattr(p, "placements") for p in model.parameters()):
        return
    device = model.get_input_embeddings().weight.device
    ids = torch.arange(1, 9, device=device).unsqueeze(0) % model.get_input_embeddings().weight.size(0)
    with quiet_eval(model), torch.no_grad():
        try:
            expected = model(input_ids=ids, use_cache=False).logits[0].float()
            hidden = last_hidden_state(model.base_model(input_ids=ids, use_cache=False))[0]
        except Exception as error:
            raise HeadMismatch(
                f"{type(model).__name__} could not be checked on a short sequence ({type(error).__name__}: {error}): "
                "if its forward takes more than input_ids, pass verify=False and compare log-probabilities yourself"
            ) from error
        check_causal(type(model).__name__, lambda tokens: model(input_ids=tokens, use_cache=False).logits, ids)
        head = model.get_output_embeddings()
        device = next((p.device for p in head.parameters()), hidden.device)
        with _head_precision(settings, hidden):
            raw = head(hidden.to(device).float() if settings.float32_head else hidden.to(device))
        result = settings.transform._replace(temperature=1.0).apply(raw, torch.float32).to(expected.device)
    if k > result.size(-1):
        raise TooManyCandidates(k, result.size(-1))
    low_precision = raw.dtype in (torch.bfloat16, torch.float16)
    scale = expected.abs().max().clamp(min=1e-6)
    if (
        result.shape != expected.shape
        or not (result - expected).abs().max() <= (3e-2 if low_precision else 1e-4) * scale
    ):
        raise HeadMismatch(
            f"the logits of {type(model).__name__} are not its LM head applied to its last hidden state (scaled and "
            "soft-capped as its config says), so the ranked head cannot stand in for it: "
            "probe a plain loop whose forward returns logits"
        )
