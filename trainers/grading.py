"""Math answers judged by math-verify in a process of their own, with a hard time limit per answer.

Invariants: every answer gets exactly one of three verdicts, and what could not be judged (the limit passed, the process
died, the gold answer is unreadable) is `unjudged`, never `wrong`; a bad answer costs its own verdict only, because the
process is killed and the next answer gets a new one. The process starts with the first answer and ends with `close`, or
when this process is gone. The package math-verify is imported there, not here.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any

from ..store.schema import Verdict
from .errors import GraderFailed, PackageMissing

TIME_LIMIT_SECONDS = 5.0
START_LIMIT_SECONDS = 120.0


class MathGrader:
    """Judges responses against gold answers; a context manager.

    Args:
        time_limit: seconds per answer.
    """

    def __init__(self, *, time_limit: float = TIME_LIMIT_SECONDS) -> None:
        self.time_limit = time_limit
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str | None] = queue.Queue()

    def judge(self, responses: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """Judge B responses against B gold answers.

        Raises:
            PackageMissing: math-verify is not installed.
            GraderFailed: the process cannot be started.
        """
        return [self._judge(response, gold) for response, gold in zip(responses, golds, strict=True)]

    def close(self) -> None:
        """End the process; a later `judge` starts another. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass  # it died with a question unread

    def __enter__(self) -> MathGrader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _judge(self, response: str, gold: str) -> Verdict:
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"response": response, "gold": gold}) + "\n")
            process.stdin.flush()
        except OSError:
            self.close()
            return "unjudged"
        reply = self._reply(self.time_limit)
        if reply is None:
            self.close()
            return "unjudged"
        verdict: Verdict = reply["verdict"]
        return verdict

    def _start(self) -> subprocess.Popen[str]:
        # A command, not multiprocessing: that would run the main script again in the child, torch and all.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "simko.trainers.grading_worker", str(self.time_limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        assert process.stdout is not None
        self._process, self._replies = process, queue.Queue()
        threading.Thread(target=_forward, args=(process.stdout, self._replies), daemon=True).start()
        first = self._reply(START_LIMIT_SECONDS)
        if first is None:
            self.close()
            raise GraderFailed(
                "the process that judges math answers does not start; see why: "
                f"echo | {sys.executable} -m simko.trainers.grading_worker {self.time_limit}"
            )
        if "missing" in first:
            self.close()
            raise PackageMissing(f"judging math answers needs the package {first['missing']}: pip install math-verify")
        return process

    def _reply(self, seconds: float) -> dict[str, Any] | None:
        """The process's next line; None when it took too long or died."""
        try:
            line = self._replies.get(timeout=seconds)
        except queue.Empty:
            return None
        reply: dict[str, Any] | None = None if line is None else json.loads(line)
        return reply


def _forward(stream: IO[str], replies: queue.Queue[str | None]) -> None:
    """Move lines to the queue, where they can be waited for with a limit; None marks the end."""
    with stream:
        for line in stream:
            replies.put(line)
    replies.put(None)
