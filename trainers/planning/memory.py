"""An estimate of a device's memory in training: the parts that can be computed, each with its formula.

Left out: fragmentation, the allocator's reserve, communication buffers, the libraries themselves (about 1 to 2 GB).
Activations by Korthikanti et al. (arXiv 2205.05198, Eq. 2, without the attention matrix, which is never held): 34 bytes
per token and hidden unit of a layer in 16 bits; with checkpointing two bytes per layer and one layer at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...probes.head.chunked import CHUNK_BYTES_ELSEWHERE
from .shape import ModelShape

_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 4, "None": 4}


@dataclass(frozen=True)
class MemoryPart:
    """One part, in bytes.

    Attributes:
        name: what it holds.
        replicated: where each device holds the whole model.
        sharded: where weights, gradients and optimizer are split over the devices.
        origin: its formula.
    """

    name: str
    replicated: float
    sharded: float
    origin: str


def memory_parts(run: Any, config: Any, processes: int, per_process: int, shape: ModelShape) -> list[MemoryPart]:
    """The parts.

    Args:
        run, config: the options.
        processes: devices that would share a sharded model.
        per_process: responses that one process generates at a time.
        shape: sizes of the model.
    """
    width = _WIDTH.get(str((config.model_init_kwargs or {}).get("dtype")).removeprefix("torch."), 4)
    trained = shape.trained(run)
    parts = [
        _split("weights", shape.parameters * width, processes, f"{shape.parameters:,} x {width} bytes"),
        _split("gradients", trained * width, processes, f"{trained:,} trained x {width} bytes"),
        _split("AdamW", trained * 2 * width, processes, f"two moments, {2 * width} bytes per trained parameter"),
    ]
    length = config.max_completion_length
    tokens = config.per_device_train_batch_size * length
    unit = 34 if config.bf16 or config.fp16 else 68
    kept = (2 * shape.layers + unit) if config.gradient_checkpointing else unit * shape.layers
    parts.append(
        _same(
            "activations",
            tokens * shape.hidden * kept,
            f"{tokens:,} response tokens x {shape.hidden:,} x {kept} bytes, prompts left out"
            + (", layers recomputed" if config.gradient_checkpointing else ""),
        )
    )
    chunk = min(3 * CHUNK_BYTES_ELSEWHERE, 3 * 4.0 * tokens * shape.vocabulary)
    parts.append(_same("LM head", chunk, "a chunk of logits, its softmax and its gradient"))
    if config.use_vllm and config.vllm_mode == "server":
        return parts
    if config.use_vllm:
        share = config.vllm_gpu_memory_utilization
        return [*parts, _same("vLLM", 0.0, f"beside these, {share:.0%} of the device (vllm_gpu_memory_utilization)")]
    cache = 2 if config.bf16 or config.fp16 else 4
    keys = per_process * length * shape.layers * shape.kv_width * cache
    parts.append(
        _same(
            "keys and values while generating",
            keys,
            f"{per_process:,} responses x {length:,} tokens x {shape.layers} layers x {shape.kv_width} x {cache} bytes",
        )
    )
    return parts


def _split(name: str, size: float, processes: int, origin: str) -> MemoryPart:
    return MemoryPart(name, size, size / processes, origin)


def _same(name: str, size: float, origin: str) -> MemoryPart:
    return MemoryPart(name, size, size, origin)
