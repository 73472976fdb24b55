"""The Triton kernels against the definitions in float64 and against PyTorch, by Triton's interpreter on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from effort import THOROUGH, some
from ranked_cases import CASES, random_logits
from simko.probes.errors import BackendMissing
from simko.probes.statistics.logit_transform import LogitTransform
from simko.probes.statistics.ranked_statistics import ranked_statistics
from simko.probes.statistics.token_stats import RowGradientInputs, RowGradients

pytest.importorskip("triton", reason="Triton is for Linux")


@pytest.fixture(scope="module")
def kernels():
    from simko.probes.statistics import triton_kernels

    assert triton_kernels._INTERPRETED, "TRITON_INTERPRET=1 has to be set before Triton is imported (tests/conftest.py)"
    return triton_kernels


TRANSFORMS = [
    LogitTransform(),
    LogitTransform(temperature=0.7),
    LogitTransform(scale=0.5, softcap=4.0, temperature=1.3),
    LogitTransform(softcap=30.0),
]
WIDE = 100_000
SMALL = [case for case in CASES if case[1].dtype != torch.float64 and case[1].size(1) < WIDE]
LARGE = [case for case in CASES if case[1].size(1) >= WIDE]
TRIED = [*SMALL, *some(LARGE, 4)]  # the interpreter takes seconds a row


@pytest.mark.parametrize(("name", "logits", "labels", "k"), TRIED, ids=[case[0] for case in TRIED])
def test_equals_definitions(kernels, name, logits, labels, k, oracle):
    rows = (2 if THOROUGH else 1) if logits.size(1) >= WIDE else 8
    logits, labels = logits[:rows], labels[:rows]
    result, expected = kernels.forward(logits, labels, k, LogitTransform()), oracle(logits, labels, k)
    assert torch.equal(result.rank, expected["rank"])
    assert torch.equal(result.top_id, expected["top_id"])
    for field in ("entropy", "collision", "collision_logprob", "entropy_slope"):
        torch.testing.assert_close(getattr(result, field).double(), expected[field], atol=1e-4, rtol=0)
    for field in ("logprob", "top_logprob", "logsumexp"):
        torch.testing.assert_close(getattr(result, field).double(), expected[field], atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_forward_and_backward_equal_pytorch(kernels, transform, dtype):
    from simko.probes.statistics import eager

    k, (logits, labels) = 6, random_logits(6, 2500, dtype=dtype)
    labels[0] = logits[0].argmax()  # a label that is a candidate too
    logits[1, 3:900] = -torch.inf
    labels[1] = 2
    result, expected = (module.forward(logits, labels, k, transform) for module in (kernels, eager))
    assert torch.equal(result.rank, expected.rank) and torch.equal(result.top_id, expected.top_id)
    for name, a, b in zip(result._fields, result, expected, strict=True):
        assert a.dtype == b.dtype, name
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5, msg=name)
    generator = torch.Generator().manual_seed(1)
    by_logprob, by_entropy = torch.randn(2, 6, generator=generator)
    by_top = torch.randn(6, k, generator=generator)
    inputs = RowGradientInputs(expected.entropy, expected.logsumexp, expected.top_id)
    for grads in (
        RowGradients(by_logprob, by_entropy, by_top),
        RowGradients(by_logprob, None, None),
        RowGradients(None, by_entropy, None),
        RowGradients(None, None, by_top),
    ):
        ours, theirs = (module.backward(logits, labels, inputs, grads, transform) for module in (kernels, eager))
        assert ours.dtype == dtype
        tolerance = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def test_nan_and_infinity_stay_in_their_rows(kernels):
    logits, labels = random_logits(4, 1500)
    logits[1, 700], logits[2, 20] = torch.nan, torch.inf
    result = kernels.forward(logits, labels, 5, LogitTransform())
    for field in (result.logprob, result.entropy, result.logsumexp, result.collision):
        assert field[[0, 3]].isfinite().all() and field[[1, 2]].isnan().all()
    clean = kernels.forward(logits[[0, 3]], labels[[0, 3]], 5, LogitTransform())
    assert torch.equal(clean.top_logprob, result.top_logprob[[0, 3]])


def test_no_rows_and_rows_that_are_not_contiguous(kernels):
    logits, labels = random_logits(6, 900)
    empty = kernels.forward(logits[:0], labels[:0], 3, LogitTransform())
    assert [tuple(field.shape) for field in empty] == [(0,)] * 7 + [(0, 3)] * 2
    for view in (logits[::2], logits.T.contiguous().T[::2]):
        result = kernels.forward(view, labels[::2], 3, LogitTransform())
        expected = kernels.forward(view.contiguous(), labels[::2].contiguous(), 3, LogitTransform())
        assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


def test_gradients_flow_through_the_public_function(kernels):
    grads = {}
    for backend in ("eager", "triton"):
        logits, labels = random_logits(4, 700)
        stats = ranked_statistics(logits.requires_grad_(), labels, 4, LogitTransform(temperature=0.8), backend=backend)
        (stats.logprob.sum() - 0.3 * stats.entropy.sum() + (stats.top_logprob * torch.arange(4.0)).sum()).backward()
        grads[backend] = logits.grad
    torch.testing.assert_close(grads["triton"], grads["eager"], atol=1e-6, rtol=1e-5)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from simko.probes.statistics import triton_kernels as kernels

NUMBERS = {"stride": "i64", "grad_stride": "i64", "vocabulary": "i32", "scale": "fp32", "softcap": "fp32",
           "temperature": "fp32", "labels": "*i64", "rank_out": "*i32", "keys_out": "*i64"}
VALUES = {"K": 5, "KEPT": 8, "SCALED": True, "CAPPED": True, "BLOCK": 2048}
for kernel in (kernels._forward_kernel.fn, kernels._dense_gradient_kernel.fn):
    for dtype in ("fp32", "bf16"):
        values = {name: VALUES[name] for name in kernel.arg_names if name in VALUES}
        types = {name: NUMBERS.get(name, "*fp32") for name in kernel.arg_names}
        types |= {name: "*" + dtype for name in ("logits", "grad_logits") if name in types}
        source = ASTSource(kernel, types | dict.fromkeys(values, "constexpr"), constexprs=values)
        built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
        print(kernel.__name__, dtype, "ptx" in built.asm)
"""


def test_the_kernels_compile_for_a_gpu_that_is_not_here(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("True") == 4


def test_kernels_that_cannot_run_here_are_told(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    logits, labels = random_logits(2, 50)
    with pytest.raises(BackendMissing, match="these logits are on cpu"):
        ranked_statistics(logits, labels, 3, backend="triton")
    monkeypatch.setenv("SIMKO_KERNEL", "cuda")
    with pytest.raises(BackendMissing, match="auto, eager, compile, triton"):
        ranked_statistics(logits, labels, 3)
