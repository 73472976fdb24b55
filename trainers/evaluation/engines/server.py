"""The engine behind an OpenAI-compatible server: vLLM, SGLang, a hosted endpoint. `POST /completions`, nothing else.

    ServerEngine(["http://127.0.0.1:8000/v1"], tokenizer=tokenizer).generate(…)

Prompts go as token ids where there is a tokenizer and the server takes them, else as text. What a server does not know
(token ids, seeds, log-probs) it refuses with 400 or 422: the first request finds out and leaves it away (`dialect`).
Requests ask for a few responses each, so many at a time. 429, 5xx, broken connections and timeouts are tried again,
later each time, or when the server says; a server that goes on failing is named.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from ...errors import ServerUnusable
from .base import Completion, Draws
from .dialect import Dialect, completions_of, prompts_of, refusal
from .reachability import auth_headers, served_model

PER_REQUEST = 16
CONCURRENCY = 64
TIMEOUT = 900.0
"""Seconds for one request when nothing else is said."""
RETRIES = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_AGAIN = {408, 409, 425, 429}


@dataclass(frozen=True)
class Service:
    """How a server is spoken to.

    Attributes:
        per_request: responses asked for at once.
        concurrency: requests at a time.
        timeout: seconds for one request.
        retries: how often a request is tried again.
        first_wait: seconds before the first of them; doubled each time.
        api_key_variable: the environment variable that holds the key.
        seeded: whether requests carry a seed.
    """

    per_request: int = PER_REQUEST
    concurrency: int = CONCURRENCY
    timeout: float = TIMEOUT
    retries: int = RETRIES
    first_wait: float = _FIRST_WAIT
    api_key_variable: str = "OPENAI_API_KEY"
    seeded: bool = True


@dataclass
class _Job:
    """Responses `first` … `first + count - 1` to one prompt."""

    row: int
    prompt: Any
    first: int
    count: int


class ServerEngine:
    """Draws from one server, or from several that serve the same model.

    Args:
        urls: addresses up to `/v1`.
        model: the name it is served under; None where the server serves one.
        tokenizer: the policy's, for token-id prompts and chat messages; None sends text.
        service: how they are spoken to.

    Attributes:
        served: the name the model is served under.

    Raises:
        ServerUnusable: no server there, too slow, or another model.
    """

    name = "server"
    model = None

    def __init__(
        self, urls: Sequence[str], *, model: str | None = None, tokenizer: Any = None, service: Service | None = None
    ) -> None:
        self._service = service or Service()
        self.tokenizer = tokenizer
        headers = auth_headers(self._service.api_key_variable)
        names = {served_model(url, model, headers, self._service.timeout) for url in urls}
        if len(names) > 1:
            raise ServerUnusable(f"the servers serve different models: {', '.join(sorted(names))}")
        self.served = names.pop()
        self._dialect: Dialect | None = None
        limits = httpx2.Limits(max_connections=self._service.concurrency)
        self._runner = asyncio.Runner()
        self._clients = [
            httpx2.AsyncClient(base_url=url, headers=headers, timeout=self._service.timeout, limits=limits)
            for url in urls
        ]
        self._turns = itertools.cycle(self._clients)

    def generate(self, prompts: Sequence[Any], n: int, draws: Draws, *, seed: int) -> list[list[Completion]]:
        """Draw n responses to each prompt (`Engine.generate`)."""
        sent = prompts_of(self.tokenizer, prompts)
        size = self._service.per_request
        jobs = [
            _Job(row, prompt, first, min(size, n - first))
            for row, prompt in enumerate(sent)
            for first in range(0, n, size)
        ]
        return self._runner.run(self._generate(jobs, len(sent), n, draws, seed))

    async def _generate(self, jobs: list[_Job], rows: int, n: int, draws: Draws, seed: int) -> list[list[Completion]]:
        result: list[list[Completion | None]] = [[None] * n for _ in range(rows)]
        if self._dialect is None and jobs:
            job = jobs.pop(0)
            result[job.row][job.first : job.first + job.count] = await self._negotiated(job, draws, seed)
        gate = asyncio.Semaphore(self._service.concurrency)

        async def draw(job: _Job) -> None:
            async with gate:
                try:
                    result[job.row][job.first : job.first + job.count] = await self._drawn(job, draws, seed)
                except _Refused as refused:  # what it took before: this prompt is at fault
                    raise ServerUnusable(f"the server refuses the request: {refused}") from None

        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(draw(job))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [[completion for completion in row if completion is not None] for row in result]

    async def _negotiated(self, job: _Job, draws: Draws, seed: int) -> list[Completion]:
        """The first request: what the server refuses is left away from then on.

        Raises:
            ServerUnusable: it refuses the barest request as well.
        """
        dialect = Dialect.richest(self.tokenizer, draws, seeded=self._service.seeded)
        first: str | None = None
        while True:
            self._dialect = dialect
            try:
                return await self._drawn(job, draws, seed)
            except _Refused as refused:
                first = first or str(refused)
                plainer = dialect.plainer()
                if plainer is None:
                    self._dialect = None
                    raise ServerUnusable(f"the server refuses the request: {first}") from None
                dialect = plainer

    async def _drawn(self, job: _Job, draws: Draws, seed: int) -> list[Completion]:
        """The responses of a job; a server that gives fewer than it was asked for is asked again."""
        dialect = self._dialect
        assert dialect is not None
        result: list[Completion] = []
        while len(result) < job.count:
            first = job.first + len(result)
            body = dialect.body(self.served, job.prompt, job.count - len(result), draws, _seed(seed, job.row, first))
            answer = await self._answer(body)
            drawn = completions_of(answer, self.tokenizer, draws)
            if not drawn:
                raise ServerUnusable("the server answers without any response (`choices` is empty)")
            result += drawn[: job.count - len(result)]
        return result

    async def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request, tried again where that may help.

        Raises:
            _Refused: 400 or 422, which trying again does not mend.
            ServerUnusable: it goes on failing, or answers what is no answer.
        """
        wait, service = self._service.first_wait, self._service
        for attempt in itertools.count(1):
            client = next(self._turns)
            asked: float | None = None
            try:
                response = await client.post("completions", json=body)
                if response.status_code == 200:
                    return _json(response)
                reason = refusal(response)
                if response.status_code in (400, 413, 422):
                    raise _Refused(reason)
                if response.status_code not in _AGAIN and response.status_code < 500:
                    raise ServerUnusable(f"{client.base_url} refuses the request: {reason}")
                asked = _seconds(response.headers.get("retry-after"))
            except httpx2.TimeoutException:
                reason = f"no answer within {service.timeout:g} s; give it more with --timeout, or ask for less at once"
            except httpx2.TransportError as error:
                reason = str(error) or type(error).__name__
            if attempt > service.retries:
                raise ServerUnusable(
                    f"{client.base_url} has failed {attempt} times, at last with: {reason}; what is done is kept, the "
                    "same command goes on"
                )
            await asyncio.sleep(min(wait if asked is None else asked, _LONGEST_WAIT))
            wait *= 2
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections; later calls do nothing."""
        clients, self._clients = self._clients, []
        if not clients:
            return

        async def close() -> None:
            for client in clients:
                await client.aclose()

        self._runner.run(close())
        self._runner.close()


class _Refused(Exception):
    """The server does not understand the request."""


def _seed(seed: int, row: int, first: int) -> int:
    """Of one request: 31 bits that no other request of the unit has."""
    return (seed * 1_000_003 + row * 8191 + first) % 2**31


def _seconds(value: str | None) -> float | None:
    """`Retry-After` in seconds; None where it is a date, or nothing."""
    return float(value) if value is not None and value.isdecimal() else None


def _json(response: Any) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError as error:
        raise ServerUnusable(
            f"{response.url} answers with what is no JSON; is it an OpenAI-compatible server?"
        ) from error
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        raise ServerUnusable(f"{response.url} answers without `choices`; is it an OpenAI-compatible server?")
    return answer
