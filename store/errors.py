"""User errors, each named by what is wrong; commands print them as one line and exit with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SimkoError(Exception):
    """Base of every user error: the message says what is wrong, where, and what to do next."""


class UsageError(SimkoError):
    """An option, argument or recipe is unknown, malformed, out of range, or contradicts another."""


class RunExists(SimkoError):
    """The run folder already holds a run and `--resume` was not asked for."""


class MeaningChanged(SimkoError):
    """The run would go on with figures that mean something else."""


class EvaluationChanged(SimkoError):
    """An evaluation would go on with other problems, settings or another engine than it was begun with."""


class RunNameInvalid(SimkoError):
    """Invalid run name: it would not be the name of one folder."""


class RunNotFound(SimkoError):
    """No run at the path."""


class LoggedRowsInvalid(SimkoError):
    """An invalid choice of the token rows to write."""


class RunBusy(SimkoError):
    """Another process is writing this run."""


class RunUnwritable(SimkoError):
    """The run folder cannot be created or written."""


class SchemaTooNew(SimkoError):
    """The run was written by a newer version of the store."""


class QueryFailed(SimkoError):
    """The SQL could not be run."""


class RemoteUnreachable(SimkoError):
    """A bucket does not exist, refuses, or cannot be reached."""


class StudyNotFound(SimkoError):
    """No study at the path."""


class ExtraMissing(SimkoError, ImportError):
    """What was asked for needs libraries that an extra of this package brings."""


class PlatformUnsupported(SimkoError, ImportError):
    """The operating system lacks what this needs."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word a person may have meant, for the end of a message; None where none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
