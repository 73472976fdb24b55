"""The engine that starts vLLM's servers itself: one per GPU, or one on the CPU; they end with it, however it ends.

    python -m vllm.entrypoints.openai.api_server --model … --port …

vLLM is never imported: its Python may be that of another environment. Work goes to all servers in turn through the
server engine. Each server writes a log, `vllm-<n>.log`, beside the results.

On a CPU vLLM cannot draw several responses of one seed, so requests carry none there. Its own generator would start at
seed 0 whenever a server starts: the first draws of an evaluation that is gone on with could be those of its beginning,
counted twice. So each server on a CPU gets a new `--seed`, which its log tells.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import ServerUnusable
from .base import Completion, Draws
from .reachability import auth_headers, model_names
from .server import ServerEngine, Service

START_SECONDS = 900.0
"""How long a server may take to load its model."""
_POLL = 0.5
_NAME = "policy"
_END_SECONDS = 20.0


class VLLMEngine:
    """Draws from servers of its own.

    Args:
        where: the checkpoint's folder or hub id.
        tokenizer: the policy's.
        python: the interpreter that has vLLM.
        arguments: further arguments of the servers.
        log_folder: takes their logs.
        service: how they are spoken to.
        devices: GPUs, one server each; none: one server on the CPU; None: those that this process sees.

    Attributes:
        urls: of the servers, up to `/v1`.

    Raises:
        ServerUnusable: a server does not start; the message says why, as far as its log tells.
    """

    name = "vllm"
    model = None

    def __init__(
        self,
        where: str | Path,
        *,
        tokenizer: Any,
        python: str = sys.executable,
        arguments: Sequence[str] = (),
        log_folder: Path,
        service: Service | None = None,
        devices: Sequence[str] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        devices = visible_devices() if devices is None else devices
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            ports = _free_ports(max(1, len(devices)))
            logs = [log_folder / f"vllm-{number}.log" for number in range(len(ports))]
            log_folder.mkdir(parents=True, exist_ok=True)
            for number, (port, log) in enumerate(zip(ports, logs, strict=True)):
                seed = [] if devices else ["--seed", str(secrets.randbelow(2**31))]
                command = _command(python, str(where), port, [*seed, *arguments])
                self._processes.append(_started(command, log, devices[number] if devices else None))
            self.urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
            for url, process, log in zip(self.urls, self._processes, logs, strict=True):
                _wait_until_up(url, process, log)
            service = service or Service()
            service = replace(service, seeded=service.seeded and bool(devices))
            self._engine = ServerEngine(self.urls, model=_NAME, tokenizer=tokenizer, service=service)
        except BaseException:
            self._end()
            raise

    def generate(self, prompts: Sequence[Any], n: int, draws: Draws, *, seed: int) -> list[list[Completion]]:
        """Draw n responses to each prompt (`Engine.generate`)."""
        return self._engine.generate(prompts, n, draws, seed=seed)

    def close(self) -> None:
        """End the servers."""
        try:
            self._engine.close()
        finally:
            self._end()

    def _end(self) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()  # the group is ended then, see `child_group`
        for process in self._processes:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def visible_devices() -> list[str]:
    """The GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def _command(python: str, where: str, port: int, arguments: Sequence[str]) -> list[str]:
    server = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", where, "--served-model-name", _NAME]
    return [*server, "--host", "127.0.0.1", "--port", str(port), *arguments]


def _started(command: Sequence[str], log: Path, device: str | None) -> subprocess.Popen[bytes]:
    environment = os.environ | ({} if device is None else {"CUDA_VISIBLE_DEVICES": device})
    environment.pop("PYTHONPATH", None)  # of this interpreter; the other one has its own packages
    keeper = [sys.executable, str(Path(__file__).with_name("child_group.py"))]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*keeper, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a server.

    Raises:
        ServerUnusable: its process has ended, or it takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerUnusable(f"vLLM's server has ended before it served: {_last_line(log)} (all of it: {log})")
        try:
            model_names(url, auth_headers("OPENAI_API_KEY"), seconds=5.0)
        except ServerUnusable:
            time.sleep(_POLL)
        else:
            return
    raise ServerUnusable(f"vLLM's server was not up after {START_SECONDS:g} s; its log: {log}")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
