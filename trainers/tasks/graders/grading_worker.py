"""The grader's own process: reads one JSON line a response, answers with two words, a line each.

    python -m simko.trainers.tasks.graders.grading_worker LIMIT_SECONDS MEMORY_BYTES   (started by `grading.py`)

In: `["text", "gold"]`. Out: `ready` once (`missing` without math-verify), then two lines for each: the verdict as soon
as it is known, and that of the second grader (`paper_grader.py`), which can only be `right` or `wrong`. The time-outs
of math-verify are switched off: they are POSIX signals that end at the main thread and count a time-out as wrong. Here
the parent kills the process when an answer takes too long, and an alarm ends it should the parent be gone.

Light on purpose: no torch, so that a killed worker is back within a second or two.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from . import paper_grader
from .algebra import clearly_differ
from .boxed import last_boxed, marked_number
from .notation import apart, bare, contradict, names_a_base, names_a_subscript, plain_number, plain_tuple, readable
from .two_stage_parser import read_in_two_stages

SECOND_SECONDS = 1.0
"""CPU time of one answer by the second grader."""
TAIL_CHARACTERS = 4000
"""Without a box the answer is looked for in the end of the response: the patterns' time grows faster than the text."""


def _parse(text: str) -> list[Any]:
    """What math-verify extracts; may raise anything."""
    from math_verify import parse

    return list(parse(text, parsing_timeout=None, raise_on_error=True))


def _parse_boxed(content: str) -> list[Any]:
    """A box is one formula or one text: a number somewhere inside a formula that cannot be read is not its value."""
    from math_verify import LatexExtractionConfig, parse

    if not content:
        return []
    configuration = [LatexExtractionConfig()]
    boxed = f"\\boxed{{{content}}}"
    result = list(parse(boxed, extraction_config=configuration, parsing_timeout=None, raise_on_error=True))
    if names_a_subscript(content):
        return [one for one in result if isinstance(one, str) or one.free_symbols]
    return result


@lru_cache(maxsize=4096)
def _read(answer: str) -> tuple[Any, ...]:
    """An answer; data sets mark formulas in every way ($x$, \\$5, plain), and a box makes them all readable."""
    return tuple(_parse_boxed(readable(answer)))


def verdict(text: str, gold: str) -> str:
    """Judge a response by its last box; without one by a number after `####`, a formula or number after "answer", else
    the last of those.

    Returns:
        `right` if anything extracted from the response equals the gold answer and its base and unit do not contradict;
        `wrong` if nothing could be extracted or nothing equals it; `unjudged` if the gold answer cannot be parsed, or a
        comparison failed and none succeeded.
    """
    boxed = last_boxed(text)
    if boxed is None:
        boxed = marked_number(text)
    if boxed is not None:
        if contradict(gold, boxed):
            return "wrong"
        if (equal := _same_numbers(gold, boxed)) is not None:
            return "right" if equal else "wrong"
        if bare(gold) and bare(gold) == bare(boxed) and apart(gold) == apart(boxed):
            return "right"
    try:
        expected = _read(gold)
        if not expected:
            return "unjudged"
        result = _parse(text[-TAIL_CHARACTERS:]) if boxed is None else _read(boxed)
    except Exception:
        return "unjudged"
    return _compared(expected, result, percent="%" in gold or "%" in text)


def _compared(expected: Sequence[Any], result: Sequence[Any], *, percent: bool) -> str:
    from math_verify import verify

    failed = False
    for answer in result:
        for reference in expected:
            try:
                if not percent and clearly_differ(reference, answer):
                    continue
                if verify(reference, answer, timeout_seconds=None, raise_on_error=True):
                    return "right"
            except Exception:
                failed = True
    return "unjudged" if failed else "wrong"


def _same_numbers(gold: str, boxed: str) -> bool | None:
    """Whether two plain numbers, or tuples of them in the same brackets, are equal; None for anything else."""
    reference, answer = plain_number(gold), plain_number(boxed)
    if reference is not None and answer is not None:
        pairs = [(reference, answer)]
    else:
        ours, theirs = plain_tuple(gold), plain_tuple(boxed)
        if ours is None or theirs is None or ours[0] != theirs[0]:
            return None
        if len(ours[1]) != len(theirs[1]):
            return False
        pairs = list(zip(ours[1], theirs[1], strict=True))
    rounded = "." in gold or "." in boxed
    return all(one == other or (rounded and _are_close(one, other)) for one, other in pairs)


def _are_close(first: Fraction, second: Fraction) -> bool:
    """Equal but for rounding: to six decimals, and to a thousandth, which tells small numbers apart."""
    apart = abs(first - second)
    return apart < Fraction(1, 2_000_000) and apart <= max(abs(first), abs(second)) / 1000


def _formula(text: str) -> Any:
    """The formula of an answer for the second grader, None where it cannot be read."""
    if names_a_base(text):  # the parser would drop it
        return None
    return next((one for one in _read(text) if not isinstance(one, str)), None)


class _TooLong(BaseException):
    """The second grader's time is up; no library's `except Exception` may keep it."""


def _stop(*_: object) -> None:
    raise _TooLong


def second_verdict(text: str, gold: str) -> str:
    """Judge a response by the paper's rules within `SECOND_SECONDS` of CPU time; what takes longer is wrong."""
    timed = hasattr(signal, "setitimer")
    try:
        if timed:
            signal.signal(signal.SIGVTALRM, _stop)
            signal.setitimer(signal.ITIMER_VIRTUAL, SECOND_SECONDS)
        return paper_grader.judge(text, gold, _formula)
    except (_TooLong, Exception):
        return "wrong"
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


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
        read_in_two_stages()
        verdict("\\boxed{x}", "y")  # the first parse loads the grammar
    except ModuleNotFoundError:
        print("missing", file=answers, flush=True)
        return
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 2 * limit + 10)
        text, gold = json.loads(line)
        print(verdict(text, gold), file=answers, flush=True)
        print(second_verdict(text, gold), file=answers, flush=True)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
