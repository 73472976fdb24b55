"""What has to be known about a Hugging Face model: where its backbone and LM head are and what it does to its logits.

The list of logit scales and the load-balancing loss follow TRL's `add_fused_lm_head`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import ProbeCannotSee
from ..statistics.logit_transform import LogitTransform


def unwrap(model: torch.nn.Module) -> torch.nn.Module:
    """The module inside DDP, DataParallel, DeepSpeed and `torch.compile` wrappers; PEFT models are left as they are."""
    while True:
        inner: Any = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in (
            "DistributedDataParallel",
            "DataParallel",
            "FullyShardedDataParallel",
            "DeepSpeedEngine",
        ):
            inner = getattr(model, "module", None)
        if inner is None:
            return model
        model = inner


def causal_lm(model: torch.nn.Module) -> Any:
    """The transformers model itself, inside wrappers and PEFT."""
    inner: Any = unwrap(model)
    return inner.get_base_model() if hasattr(inner, "peft_config") and hasattr(inner, "get_base_model") else inner


def virtual_tokens(model: Any) -> int:
    """How many learned positions a PEFT model (prompt tuning, P-tuning) puts before `input_ids`; 0 for any other."""
    config = getattr(model, "active_peft_config", None) if hasattr(model, "peft_config") else None
    kind = str(getattr(config, "peft_type", "")).rsplit(".", maxsplit=1)[-1]
    if not getattr(config, "is_prompt_learning", False) or kind in ("PREFIX_TUNING", "CARTRIDGE"):  # keys and values
        return 0
    return int(getattr(config, "num_virtual_tokens", 0) or 0)


def check_predicts_next_token(model: Any) -> None:
    """Raise `ProbeCannotSee` for a kind of model whose logits are known not to be of the next token of `input_ids`."""
    name = type(model).__name__
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise ProbeCannotSee(
            f"{name} is an encoder-decoder model: its logits belong to the decoder's tokens, not to input_ids; "
            "the probe needs a decoder-only model (AutoModelForCausalLM)"
        )
    if "MaskedLM" in name:
        raise ProbeCannotSee(
            f"{name} is a masked language model: it predicts hidden tokens, not the next one; "
            "the probe needs a causal model (AutoModelForCausalLM)"
        )


def check_causal(name: str, run: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor) -> None:
    """See that the logits at a position do not depend on later tokens.

    Args:
        name: of the model, for the message.
        run: (1, T) token ids → (1, T, V) logits.
        ids: (1, T) token ids, T at least 2, of which the first and the last differ.

    Raises:
        ProbeCannotSee: they do, so that they know the very token whose log-probability would be logged.
    """
    changed = ids.clone()
    changed[:, -1] = ids[:, 0]
    first, again, other = (run(tokens)[:, :-1] for tokens in (ids, ids, changed))
    tolerance = 3e-2 if first.dtype in (torch.bfloat16, torch.float16) else 1e-4
    noise, change = ((first - logits).float().abs().max() for logits in (again, other))
    if change > tolerance * first.float().abs().max() + 3 * noise:
        raise ProbeCannotSee(
            f"the logits of {name} change with later tokens (bidirectional attention), so they are not predictions of "
            "the next token: load it as a causal model (for BERT-like ones, config.is_decoder=True)"
        )


def vocabulary_head(model: Any) -> torch.nn.Module:
    """The LM head of a causal language model.

    Raises:
        ProbeCannotSee: there is no head or backbone, its logits are not of the next token, or its vocabulary is sharded
            over processes.
    """
    check_predicts_next_token(model)
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head is None or not isinstance(head, torch.nn.Module) or getattr(model, "base_model", model) is model:
        raise ProbeCannotSee(
            f"{type(model).__name__} has no LM head to attach to: load it as a causal language model "
            "(AutoModelForCausalLM), or let its forward return logits and score it in a plain loop"
        )
    check_whole(model, head)
    return head


def check_whole(model: torch.nn.Module, head: Any) -> None:
    """Raise `ProbeCannotSee` where each process computes the logits of a part of the vocabulary only."""
    if vocabulary_is_sharded(model, head):
        raise ProbeCannotSee(
            f"the LM head of {type(model).__name__} is split over processes along the vocabulary (tensor parallelism), "
            "so no process sees a whole distribution: leave lm_head out of the tensor-parallel plan, or use DDP or FSDP"
        )


def vocabulary_is_sharded(model: torch.nn.Module, head: Any) -> bool:
    """Whether the head's rows are spread over processes and stay so while it runs. FSDP gathers them, TP does not."""
    from torch.distributed.tensor import DTensor, Shard

    weight = getattr(head, "weight", None)
    if not isinstance(weight, DTensor) or not any(p == Shard(0) for p in weight.placements):
        return False
    names = weight.device_mesh.mesh_dim_names or ()
    if any(name in ("tp", "tensor", "tensor_parallel") for name in names):
        return True
    from torch.distributed.fsdp import FSDPModule

    return not any(isinstance(module, FSDPModule) for module in model.modules())


def vocabulary_size(model: Any, head: Any) -> int:
    """Number of logits of the head."""
    size = getattr(head, "out_features", None)
    return int(model.config.get_text_config().vocab_size if size is None else size)


def logit_transform(model: Any) -> LogitTransform:
    """What the model does to its head's output before it calls it logits, read from its config.

    Soft-capping: Gemma 2 and later. Factors: `logit_scale` (Cohere), `output_multiplier` (Muse Glimmer),
    `lm_head_multiplier` (Falcon-H1); `logits_scaling` divides (Granite, MiniCPM3), except in HyperCLOVA X.
    """
    config = model.config.get_text_config()
    scale = next(
        (
            value
            for name in ("logit_scale", "output_multiplier", "lm_head_multiplier")
            if (value := getattr(config, name, None)) is not None
        ),
        None,
    )
    scaling = getattr(config, "logits_scaling", None)
    if scale is None and scaling is not None:
        scale = scaling if config.model_type == "hyperclovax" else 1 / scaling
    return LogitTransform(
        scale=1.0 if scale is None else float(scale), softcap=getattr(config, "final_logit_softcapping", None)
    )


def last_hidden_state(output: Any) -> torch.Tensor:
    """(B, T, hidden size) from the output of a backbone."""
    hidden: torch.Tensor = output.last_hidden_state if hasattr(output, "last_hidden_state") else output[0]
    return hidden


def router_loss(config: Any, model: Any, router_logits: Any, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """The load-balancing loss of a mixture of experts, as its own forward computes it."""
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    experts = getattr(config, "num_experts", None) or model.num_experts
    loss: torch.Tensor = load_balancing_loss_func(router_logits, experts, config.num_experts_per_tok, attention_mask)
    return loss


@contextmanager
def quiet_eval(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; afterwards every module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
