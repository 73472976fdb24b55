"""The statistics pass as Triton kernels: one read of the logits forward, one read and one write backward.

Forward, a program a row goes over the vocabulary in tiles and keeps, in registers, the running maximum, the sums that
the moments need (rescaled whenever the maximum grows), the number of logits above the sampled one, and the K largest as
64-bit keys: the logit's bits made to sort as integers, then the token id counted down, so that one comparison knows
value and tie rule. A tile whose largest key does not beat the least one kept costs nothing more. Everything is float32,
whatever the dtype of the logits. Backward, the dense part is one pass over tiles; the entries that a label or candidate
adds to are few and worked out afterwards, in float32, before they are rounded.

`TRITON_INTERPRET=1`, set before Triton is imported, runs the kernels on CPU tensors: the mathematics, not the speed,
which `benchmarks/gpu.py` measures.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import triton
import triton.language as tl

from .logit_transform import LogitTransform
from .token_stats import RowGradientInputs, RowGradients, RowStats

_LEAST = -(2**63)
_NO_PROBABILITY = -1000.0
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_SHAPES = (
    [(1024, 4)]
    if _INTERPRETED  # nothing to tune
    else [(block, warps) for block in (1024, 2048, 4096, 8192) for warps in (4, 8, 16) if block // warps >= 128]
)


def _tuned(kernel: Any) -> Any:
    """The kernel with the tile width that is fastest on this device for a vocabulary and dtype, found at first use."""
    configs = [triton.Config({"BLOCK": block}, num_warps=warps) for block, warps in _SHAPES]
    return triton.autotune(configs=configs, key=["vocabulary", "KEPT"])(kernel)


@triton.jit
def _transformed(z, scale, softcap, temperature, SCALED: tl.constexpr, CAPPED: tl.constexpr):
    """x = softcap·tanh(scale·z / softcap) / temperature."""
    x = z.to(tl.float32)
    if SCALED:
        x = x * scale
    if CAPPED:
        x = softcap * (2.0 * tl.sigmoid(2.0 * x / softcap) - 1.0)
    if SCALED:
        x = x / temperature
    return x


@_tuned
@triton.jit
def _forward_kernel(
    logits, labels, stride, vocabulary, scale, softcap, temperature,
    largest_out, log_sum_out, sampled_out, entropy_out, collision_out, collision_logprob_out, entropy_slope_out,
    rank_out, keys_out,
    K: tl.constexpr, KEPT: tl.constexpr, SCALED: tl.constexpr, CAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    base = logits + row * stride
    label = tl.load(labels + row)
    sampled = _transformed(tl.load(base + label), scale, softcap, temperature, SCALED, CAPPED)
    none = tl.full((), -9223372036854775808, tl.int64)
    slot = tl.arange(0, KEPT)
    # Empty places are below every key and differ from each other; those beyond K are never the least.
    keys = tl.where(slot < K, none + slot, 9223372036854775807)
    largest = tl.full((), float("-inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    moment = tl.full((), 0.0, tl.float32)
    total_2 = tl.full((), 0.0, tl.float32)
    moment_2 = tl.full((), 0.0, tl.float32)
    square_2 = tl.full((), 0.0, tl.float32)
    above = tl.full((), 0, tl.int32)
    for start in range(0, vocabulary, BLOCK):
        token = start + tl.arange(0, BLOCK)
        inside = token < vocabulary
        z = tl.load(base + token, mask=inside, other=float("-inf"))
        x = _transformed(z, scale, softcap, temperature, SCALED, CAPPED)
        x = tl.where(inside, x, float("-inf"))
        above += tl.sum(((x > sampled) & (token != label)).to(tl.int32), 0)

        grown = tl.maximum(largest, tl.max(x, 0))
        reference = tl.where(grown == float("-inf"), 0.0, grown)
        shift = tl.where(largest == float("-inf"), 0.0, largest - reference)
        shrink = tl.exp(shift)
        moment = shrink * (moment + shift * total)
        total = shrink * total
        square_2 = shrink * shrink * (square_2 + shift * (2.0 * moment_2 + shift * total_2))
        moment_2 = shrink * shrink * (moment_2 + shift * total_2)
        total_2 = shrink * shrink * total_2
        below = tl.where(x == float("-inf"), 0.0, x - reference)
        e = tl.where(x == float("-inf"), 0.0, tl.exp(below))
        total += tl.sum(e, 0)
        moment += tl.sum(e * below, 0)
        total_2 += tl.sum(e * e, 0)
        moment_2 += tl.sum(e * e * below, 0)
        square_2 += tl.sum(e * below * e * below, 0)
        largest = grown

        bits = tl.where(x == 0.0, 0.0, x).to(tl.int32, bitcast=True)  # -0 and 0 are one value
        ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
        key = (ordered.to(tl.int64) << 32) | (0x7FFFFFFF - token).to(tl.int64)
        key = tl.where(inside, key, none)
        least = tl.min(keys, 0)
        best = tl.max(key, 0)
        while best > least:
            keys = tl.where(keys == least, best, keys)
            key = tl.where(key == best, none, key)
            least = tl.min(keys, 0)
            best = tl.max(key, 0)

    log_sum = tl.log(total)
    tl.store(largest_out + row, largest)
    tl.store(log_sum_out + row, log_sum)
    tl.store(sampled_out + row, sampled)
    mean = moment / total
    tl.store(entropy_out + row, log_sum - mean)
    tl.store(collision_out + row, total_2 / (total * total))
    tl.store(collision_logprob_out + row, (moment_2 - log_sum * total_2) / (total * total))
    slope = square_2 - 2.0 * mean * moment_2 + mean * mean * total_2
    tl.store(entropy_slope_out + row, slope / (total * total))
    tl.store(rank_out + row, above + 1)
    tl.store(keys_out + row * K + slot, keys, mask=slot < K)


@_tuned
@triton.jit
def _dense_gradient_kernel(
    logits, stride, vocabulary, scale, softcap, temperature,
    logsumexp, entropy, weight, grad_entropy, grad_logits, grad_stride,
    KEPT: tl.constexpr, SCALED: tl.constexpr, CAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    token = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = token < vocabulary
    z = tl.load(logits + row * stride + token, mask=inside, other=0.0)
    x = _transformed(z, scale, softcap, temperature, SCALED, CAPPED)
    logprob = tl.maximum(x - tl.load(logsumexp + row), -1000.0)  # so that 0·log 0 is 0
    inner = -tl.load(weight + row) - tl.load(grad_entropy + row) * (logprob + tl.load(entropy + row))
    grad = tl.exp(logprob) * inner
    if CAPPED:
        capped = x * temperature / softcap
        grad = grad * (1.0 - capped * capped)
    if SCALED:
        grad = grad * (scale / temperature)
    tl.store(grad_logits + row * grad_stride + token, grad, mask=inside)


def forward(logits: torch.Tensor, labels: torch.Tensor, k: int, transform: LogitTransform) -> RowStats:
    """Statistics of (N, V) logits; arguments as in `ranked_statistics`."""
    n, vocabulary = logits.shape
    logits = logits if logits.stride(-1) == 1 else logits.contiguous()
    floats = logits.new_empty(7, n, dtype=torch.float32)
    largest, log_sum, sampled, entropy, collision, collision_logprob, entropy_slope = floats
    rank = logits.new_empty(n, dtype=torch.int32)
    keys = logits.new_empty(n, k, dtype=torch.int64)
    if n:
        _forward_kernel[(n,)](
            logits, labels.contiguous(), logits.stride(0), vocabulary, *_numbers(transform),
            *floats, rank, keys,
            K=k, KEPT=triton.next_power_of_2(k), **_switches(transform),
        )  # fmt: skip
    value, top_id = _decoded(keys.sort(dim=1, descending=True).values)
    return RowStats(
        logprob=sampled - largest - log_sum,
        entropy=entropy.clamp_(min=0),
        logsumexp=largest + log_sum,
        rank=rank.long(),
        collision=collision,
        collision_logprob=collision_logprob,
        entropy_slope=entropy_slope.clamp_(min=0),
        top_logprob=value - largest.unsqueeze(1) - log_sum.unsqueeze(1),
        top_id=top_id,
    )


def backward(
    logits: torch.Tensor,
    labels: torch.Tensor,
    stats: RowGradientInputs,
    grads: RowGradients,
    transform: LogitTransform,
) -> torch.Tensor:
    """The gradient (N, V) by the logits, in their dtype."""
    n, vocabulary = logits.shape
    logits = logits if logits.stride(-1) == 1 else logits.contiguous()
    grad_logits = torch.empty_like(logits)
    if not n:
        return grad_logits
    weight = grads.weight(stats.entropy).float()
    by_entropy = torch.zeros_like(weight) if grads.entropy is None else grads.entropy.float()

    def grid(meta: dict[str, int]) -> tuple[int, int]:
        return n, triton.cdiv(vocabulary, meta["BLOCK"])

    _dense_gradient_kernel[grid](
        logits, logits.stride(0), vocabulary, *_numbers(transform),
        stats.logsumexp.contiguous(), stats.entropy.contiguous(), weight.contiguous(), by_entropy.contiguous(),
        grad_logits, grad_logits.stride(0), KEPT=1, **_switches(transform),
    )  # fmt: skip
    ids, added = _added(labels, stats, grads)
    if ids is not None:
        # These entries once more, dense part and what is added to them together, so that they are rounded once.
        x = transform.apply(logits.gather(1, ids), torch.float32)
        logprob = (x - stats.logsumexp.unsqueeze(1)).clamp(min=_NO_PROBABILITY)
        inner = -weight.unsqueeze(1) - by_entropy.unsqueeze(1) * (logprob + stats.entropy.unsqueeze(1))
        grad_logits.scatter_(1, ids, transform.chain(logprob.exp() * inner + added, x).to(grad_logits.dtype))
    return grad_logits


def _added(
    labels: torch.Tensor, stats: RowGradientInputs, grads: RowGradients
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Token ids (N, J) that a label or candidate adds to, and the sum (N, J) added to each; ids may repeat."""
    ids, values = [], []
    if grads.logprob is not None:
        ids.append(labels.unsqueeze(1))
        values.append(grads.logprob.unsqueeze(1).float())
    if grads.top_logprob is not None:
        ids.append(stats.top_id)
        values.append(grads.top_logprob.float())
    if not ids:
        return None, stats.entropy
    where, value = torch.cat(ids, 1), torch.cat(values, 1)
    same = (where.unsqueeze(2) == where.unsqueeze(1)).to(value.dtype)
    return where, torch.bmm(same, value.unsqueeze(2)).squeeze(2)


def _decoded(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and token id of each key."""
    ordered = (keys >> 32).to(torch.int32)
    bits = ordered ^ ((ordered >> 31) & 0x7FFFFFFF)
    return bits.view(torch.float32), 0x7FFFFFFF - (keys & 0x7FFFFFFF)


def _numbers(transform: LogitTransform) -> tuple[float, float, float]:
    return transform.scale, transform.softcap or 1.0, transform.temperature


def _switches(transform: LogitTransform) -> dict[str, bool]:
    scaled = transform.scale != 1.0 or transform.temperature != 1.0
    # Without fused multiply-adds, which could make equal logits differ between two places of the code.
    return {"SCALED": scaled, "CAPPED": transform.softcap is not None, "enable_fp_fusion": False}
