r"""The process that judges math answers with math-verify: `python -m simko.trainers.grading_worker SECONDS`.

Format: JSON lines. On its standard output first `{"ready": true}` or `{"missing": package}`, then for every line
`{"response": text, "gold": text}` of its standard input one line `{"verdict": "right" | "wrong" | "unjudged"}`.

A process of its own because an answer can hang sympy or exhaust memory (`9^{9^{9}}`), and math-verify's own time-outs are
signals, which only work in a main thread and cannot interrupt C code. `trainers.grading` keeps the clock and kills this
process; SECONDS is only for when nobody is left to do so. Imports neither torch nor anything else of this project that
does: it starts in about a second.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from functools import lru_cache
from typing import Any

from .boxed import last_boxed

MEMORY_BYTES = 2 << 30
"""Address space of the process: a huge number fails here, not in the machine."""

TAIL_CHARACTERS = 4000
"""Without a box the answer is looked for in the end of the response: the patterns' time grows faster than the text."""


def judge(response: str, gold: str) -> str:
    r"""`right`, `wrong`, or `unjudged` where the gold answer cannot be read.

    The answer is the response's last `\boxed{…}`; without one, what math-verify finds at its end (a formula or number
    after "answer", else the last formula, else the last number). A response without an answer is wrong.
    """
    from math_verify import verify

    golds = _gold(gold)
    if not golds:
        return "unjudged"
    given = _given(response)
    return "right" if verify(golds, given, timeout_seconds=None) else "wrong"


@lru_cache(maxsize=256)
def _gold(gold: str) -> list[Any]:
    bare = last_boxed(gold)
    # Data sets mark formulas in every way ($x$, \$5, plain); inside a box math-verify reads all of them.
    return _parse_boxed((gold if bare is None else bare).replace(r"\$", "").replace("$", "").strip())


def _given(response: str) -> list[Any]:
    from math_verify import parse

    boxed = last_boxed(response)
    if boxed is not None:
        return _parse_boxed(boxed)
    return parse(response[-TAIL_CHARACTERS:], parsing_timeout=None)


def _parse_boxed(content: str) -> list[Any]:
    from math_verify import parse

    return parse(rf"\boxed{{{content}}}", parsing_timeout=None) if content else []


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not a POSIX system: only the clock protects
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def main() -> None:
    """Judge until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process, which then closes this one
    seconds = float(sys.argv[1])
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    sys.stdout = sys.stderr  # whatever a library prints is not a reply

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    _limit_memory()
    try:
        import math_verify  # noqa: F401  # the slow import, before the first clock starts
    except ImportError as error:
        reply({"missing": error.name})
        return
    logging.disable(logging.CRITICAL)
    alarm = getattr(signal, "setitimer", None)
    reply({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if alarm is not None:
            alarm(signal.ITIMER_REAL, 2 * seconds + 10)  # unhandled SIGALRM ends the process, even inside C code
        verdict = judge(asked["response"], asked["gold"])
        if alarm is not None:
            alarm(signal.ITIMER_REAL, 0)
        reply({"verdict": verdict})


if __name__ == "__main__":
    main()
