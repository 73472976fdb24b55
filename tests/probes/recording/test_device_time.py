"""The probe's time: on the training thread anywhere, on the device where there is one."""

import pytest
import simko.store
import torch
from simko.probes import Probe
from simko.probes.recording.device_time import DeviceTime


def losses(model, batch, run=None):
    result = []
    with Probe.attach(model, run) if run else torch.enable_grad():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            result.append(loss.item())
    return result


def test_without_a_device_calls_are_just_calls():
    timed = DeviceTime()
    assert timed.timed(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        timed.timed(divmod, 7, 0)
    if not torch.cuda.is_initialized():
        assert timed.collect() is None


def test_a_plain_loop_logs_what_the_probe_took(llama, batch, tmp_path):
    assert losses(llama(), batch, tmp_path / "run") == losses(llama(), batch)
    with simko.store.open(tmp_path / "run") as connection:
        rows = connection.sql("SELECT step, capture_ms > 0, device_ms, capture_ms < step_ms FROM costs ORDER BY step")
        assert rows.fetchall() == [(1, True, None, None), (2, True, None, True), (3, True, None, True)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_device_its_time_is_logged_too(llama, batch, tmp_path):
    losses(llama().cuda(), {name: tensor.cuda() for name, tensor in batch.items()}, tmp_path / "run")
    with simko.store.open(tmp_path / "run") as connection:
        assert connection.sql("SELECT bool_and(device_ms > 0 AND probe_ms >= device_ms) FROM costs").fetchall() == [
            (True,)
        ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_span_on_the_device_is_read_after_it_is_over():
    timed = DeviceTime()
    a = torch.randn(4096, 4096, device="cuda")
    for _ in range(3):
        timed.timed(torch.mm, a, a)
    assert timed.collect()() > 0 and timed.collect() is None
