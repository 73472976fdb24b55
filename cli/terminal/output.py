"""What a command writes, guarded in one place: closed pipes, full disks, encodings without Λ, and errors in one line.

    def main(argv: list[str] | None = None) -> int:
        return guarded("simko-train", lambda: run(arguments))

Text comes from models and files: what could steer a terminal is shown, never sent (`printable`). Where the terminal's
encoding has no letter for a character, it is written out in ASCII (`encodable`), and nothing raises.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from ...store.errors import SimkoError

USER_ERROR = 2
"""Exit code of a user error, and of output that cannot be written."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells use it."""
PIPE_CLOSED = 141
"""Exit code where the reader of a pipe has left, as after SIGPIPE; nothing is said then."""

_IN_ASCII = {
    "Λ": "Lambda", "α": "alpha", "β": "beta", "ε": "epsilon", "κ": "kappa", "λ": "lambda", "ρ": "rho", "τ": "tau",
    "Σ": "sum", "Δ": "delta", "ẽ": "e", "·": "-", "•": "*", "✗": "x", "✓": "ok", "×": "x", "…": "...", "–": "-",
    "—": "-", "−": "-", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "!=", "±": "+-", "∞": "inf", "⁻": "-",
    "’": "'", "‘": "'", "“": '"', "”": '"', "█": "#", "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip
_ERRORS = "simko.ascii"


class OutputLost(Exception):
    """Standard output or standard error cannot be written any more.

    Attributes:
        reason: what the system says.
        closed: whether the reader of a pipe has left, which is no fault.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.reason = error.strerror or str(error)
        self.closed = error.errno == errno.EPIPE


def guarded(program: str, body: Callable[[], int]) -> int:
    """Run a command and turn what can go wrong around it into one line and an exit code.

    Args:
        program: how the line begins: `simko ls`, `simko-train`.
        body: the command; returns its exit code.

    Returns:
        the exit code of `body`; 2 after a `SimkoError` or where the output cannot be written; 130 after Ctrl-C; 141
        where the reader of a pipe has left.
    """
    with _checked_streams():
        try:
            code = _exit_code(program, body)
            sys.stdout.flush()
            return code
        except OutputLost as lost:
            if lost.closed:
                return PIPE_CLOSED
            with contextlib.suppress(OutputLost):
                print(f"{program}: cannot write the output: {lost.reason}", file=sys.stderr)
            return USER_ERROR


def _exit_code(program: str, body: Callable[[], int]) -> int:
    try:
        return body()
    except SystemExit as leaving:  # argparse, after --help
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except SimkoError as error:
        sys.stdout.flush()
        print(f"{program}: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED


class _Descriptor(io.FileIO):
    """A file descriptor whose failure is an `OutputLost`, once; what is written after that goes nowhere."""

    lost = False

    def write(self, data: Any) -> int:
        if not self.lost:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = True
                raise OutputLost(error) from error
        return memoryview(data).nbytes


@contextlib.contextmanager
def _checked_streams() -> Iterator[None]:
    """`sys.stdout` and `sys.stderr` that raise `OutputLost` and take every character."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_checked(stream, number) for number, stream in enumerate(before, start=1))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OutputLost, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def _checked(stream: Any, number: int) -> Any:
    if stream is None:  # closed by the shell: >&-
        return open(os.devnull, "w", encoding="utf-8")
    original: Any = (sys.__stdout__, sys.__stderr__)[number - 1]
    if stream is not original:  # somebody listens in already
        return stream
    stream.flush()
    raw = _Descriptor(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=_encoding(stream), errors=_ERRORS, line_buffering=number == 2 or raw.isatty()
    )


def _encoding(stream: Any) -> str:
    """The stream's encoding; ASCII where `LC_ALL=C` asks for it, which Python itself takes for UTF-8."""
    explicit = any(os.environ.get(name) for name in ("PYTHONIOENCODING", "PYTHONUTF8"))
    return "ascii" if os.environ.get("LC_ALL") in ("C", "POSIX") and not explicit else str(stream.encoding)


def printable(text: str) -> str:
    """Text with every character that could steer a terminal or turn its reading direction written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode() for c in text)


def encodable(text: str) -> str:
    """Text as standard output will show it, so that its width is known."""
    if text.isascii():
        return text
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, _ERRORS).decode(encoding)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    characters = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(c, c.encode("unicode_escape").decode()) for c in characters), error.end


codecs.register_error(_ERRORS, _in_ascii)
