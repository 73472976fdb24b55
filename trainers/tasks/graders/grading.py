"""Math answers judged by math-verify in processes of our own, with a hard time limit: right, wrong or unjudged.

Unjudged means that the grader could not decide: the answer took longer than the limit, the grader crashed or ran out of
memory on it, or the gold answer cannot be parsed. A response without any answer is wrong. A worker that times out or
crashes is killed and replaced; the other responses do not notice. math-verify is imported in the workers only.

Every answer is judged a second time by the rules of the paper's authors (`paper_grader.py`). That verdict changes
nothing: `MathGrader.disagreement` counts how often it is another, so that a figure never hangs on one grader unnoticed.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from ....store.layout.schema import VERDICTS, Verdict
from ...errors import GraderFailed, PackageMissing
from ..base import Disagreement

SECONDS = 5.0
"""Time limit of one answer."""
MEMORY_BYTES = 4 << 30
"""Address space of one worker: a hostile exponent must not take the machine down."""
SECOND_OPINION_SECONDS = 3.0
"""After its verdict a worker may think that long about the second grader's, which counts as wrong otherwise."""
_START_SECONDS = 120.0
_START_ATTEMPTS = 3


class _Worker:
    """One grading process and what it is busy with."""

    def __init__(self, seconds: float) -> None:
        # A command, not multiprocessing, which would run the main script again in the child, torch and all;
        # -P because a file in the working directory must not stand in for a package.
        command = [sys.executable, "-P", "-m", f"{__package__}.grading_worker", str(seconds), str(MEMORY_BYTES)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self.stdout = self._process.stdin, self._process.stdout
        self._received = b""
        self._seconds = seconds
        self.ready = False
        self.judged = False
        self.item: int | None = None
        self.deadline = time.monotonic() + _START_SECONDS

    def send(self, item: int, text: str, gold: str) -> None:
        """Hand over an item; the clock starts."""
        self.item, self.judged = item, False
        self.deadline = time.monotonic() + self._seconds
        line = json.dumps([text, gold]).encode() + b"\n"
        try:
            while line:
                line = line[self._stdin.write(line) or 0 :]
        except BrokenPipeError:
            pass  # it has died; its end of output tells

    def receive(self) -> list[str] | None:
        """The words that are complete, None when the process has ended."""
        chunk = os.read(self.stdout.fileno(), 4096)
        if not chunk:
            return None
        *lines, self._received = (self._received + chunk).split(b"\n")
        return [line.decode().strip() for line in lines]

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self.stdout.close()


class MathGrader:
    """Judges math answers in parallel; a context manager. Workers start with the first answer.

    Args:
        seconds: time limit of one answer.
        workers: processes; default: up to four, one a CPU core.

    Attributes:
        disagreement: of the two graders about the newest batch.
    """

    def __init__(self, *, seconds: float = SECONDS, workers: int | None = None) -> None:
        self._seconds = seconds
        self._n_workers = workers or min(4, os.cpu_count() or 1)
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._second_verdicts: dict[int, str] = {}
        self.disagreement = Disagreement()

    def judge(self, texts: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """Judge B responses against B gold answers.

        Raises:
            PackageMissing: math-verify is not installed.
            GraderFailed: the grader cannot be started at all.
        """
        verdicts: list[Verdict] = ["unjudged"] * len(texts)
        self._second_verdicts = dict.fromkeys(range(len(texts)), "wrong")
        pending = list(range(len(texts)))[::-1]
        while len(self._workers) < min(self._n_workers, len(texts)):
            self._workers.append(_Worker(self._seconds))
        try:
            with selectors.DefaultSelector() as selector:
                for worker in self._workers:
                    selector.register(worker.stdout, selectors.EVENT_READ, worker)
                self._hand_out(pending, texts, golds)
                while pending or any(w.item is not None for w in self._workers):
                    self._turn(selector, verdicts)
                    self._hand_out(pending, texts, golds)
        except BaseException:
            self.close()  # an interrupted worker would answer the next batch with this one's verdict
            raise
        self.disagreement = Disagreement(
            sum(verdict != "unjudged" for verdict in verdicts),
            sum(v == "wrong" and self._second_verdicts[i] == "right" for i, v in enumerate(verdicts)),
            sum(v == "right" and self._second_verdicts[i] == "wrong" for i, v in enumerate(verdicts)),
        )
        return verdicts

    def _hand_out(self, pending: list[int], texts: Sequence[str], golds: Sequence[str]) -> None:
        for worker in self._workers:
            if pending and worker.ready and worker.item is None:
                item = pending.pop()
                worker.send(item, texts[item], golds[item])

    def _turn(self, selector: selectors.BaseSelector, verdicts: list[Verdict]) -> None:
        """Wait for the next word or deadline, and act on it."""
        waiting = [w for w in self._workers if w.item is not None or not w.ready]
        patience = min(w.deadline for w in waiting) - time.monotonic()
        for key, _ in selector.select(max(0.0, patience)):
            worker: _Worker = key.data
            words = worker.receive()
            if words is None:
                self._replace(worker, selector)
            for word in words or ():
                self._take(worker, word, verdicts)
        now = time.monotonic()
        for worker in [w for w in self._workers if (w.item is not None or not w.ready) and w.deadline <= now]:
            self._replace(worker, selector)

    def _take(self, worker: _Worker, word: str, verdicts: list[Verdict]) -> None:
        """A worker's word: that it has started, its verdict, or the second grader's."""
        if word == "ready":
            worker.ready, self._failed_starts = True, 0
        elif word == "missing":
            raise PackageMissing("judging math answers needs math-verify: pip install 'math-verify[antlr4_13_2]'")
        elif worker.item is not None and not worker.judged:
            verdicts[worker.item] = word if word in VERDICTS else "unjudged"
            worker.judged, worker.deadline = True, time.monotonic() + SECOND_OPINION_SECONDS
        elif worker.item is not None:
            self._second_verdicts[worker.item] = word
            worker.item = None

    def _replace(self, worker: _Worker, selector: selectors.BaseSelector) -> None:
        """Its item keeps the verdict it has: unjudged, or wrong for the second grader alone."""
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _START_ATTEMPTS:
                raise GraderFailed(
                    f"the math grader does not start; run `{sys.executable} -m {__package__}.grading_worker 5 "
                    f"{MEMORY_BYTES}` to see why"
                )
        selector.unregister(worker.stdout)
        worker.stop()
        fresh = _Worker(self._seconds)
        self._workers[self._workers.index(worker)] = fresh
        selector.register(fresh.stdout, selectors.EVENT_READ, fresh)

    def close(self) -> None:
        """Stop the workers; the next answer starts new ones."""
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def __enter__(self) -> MathGrader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
