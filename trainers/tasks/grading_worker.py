"""The grader's own process: reads one JSON line a response, answers with one word a line.

    python -m simko.trainers.tasks.grading_worker LIMIT_SECONDS MEMORY_BYTES   (started by `grading.py`)

In: `["text", "gold"]`. Out: `ready` once (`missing` without math-verify), then a verdict for each line. math-verify's
own time-outs are switched off: they are POSIX signals that end at the main thread and count a time-out as wrong. Here
the parent kills the process when an answer takes too long, and an alarm ends it should the parent be gone.

Light on purpose: no torch, so that a killed worker is back within a second or two.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import lru_cache
from typing import Any

from .boxed import last_boxed

TAIL_CHARACTERS = 4000
"""Without a box the answer is looked for in the end of the response: the patterns' time grows faster than the text."""


def _parse(text: str) -> list[Any]:
    """What math-verify extracts; may raise anything."""
    from math_verify import parse

    return list(parse(text, parsing_timeout=None, raise_on_error=True))


def _parse_boxed(content: str) -> list[Any]:
    return _parse(f"\\boxed{{{content}}}") if content else []


@lru_cache(maxsize=4096)
def _gold(answer: str) -> tuple[Any, ...]:
    """A gold answer; data sets mark formulas in every way ($x$, \\$5, plain), and a box makes them all readable."""
    return tuple(_parse_boxed(answer.replace("\\$", "").replace("$", "").strip()))


def _found(text: str) -> list[Any]:
    """The last box; without one a formula or number after "answer", else the last formula, else the last number."""
    boxed = last_boxed(text)
    return _parse(text[-TAIL_CHARACTERS:]) if boxed is None else _parse_boxed(boxed)


def verdict(text: str, gold: str) -> str:
    """Judge a response.

    Returns:
        `right` if anything extracted from the response equals the gold answer; `wrong` if nothing could be extracted or
        nothing equals it; `unjudged` if the gold answer cannot be parsed, or a comparison failed and none succeeded.
    """
    from math_verify import verify

    try:
        expected = _gold(gold)
        if not expected:
            return "unjudged"
        result = _found(text)
    except Exception:
        return "unjudged"
    failed = False
    for answer in result:
        for reference in expected:
            try:
                if verify(reference, answer, timeout_seconds=None, raise_on_error=True):
                    return "right"
            except Exception:
                failed = True
    return "unjudged" if failed else "wrong"


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # not POSIX: the time limit alone has to do
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process, which then stops this one
    limit, memory = float(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)  # libraries that print must not speak in between
    _limit_memory(memory)
    try:
        verdict("\\boxed{1}", "1")  # the first parse loads the grammar
    except ModuleNotFoundError:
        print("missing", file=answers, flush=True)
        return
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 2 * limit + 10)
        text, gold = json.loads(line)
        print(verdict(text, gold), file=answers, flush=True)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
