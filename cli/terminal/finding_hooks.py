"""What happens when a rule newly fires: a command is run, a URL is told. A hook that fails is named; watching goes on.

The command is split into words as a shell would and started without one. What fired reaches it by environment variables
alone, so nothing that a run, a model or a file says can become part of a command.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ...store.analysis.findings.rule import Finding
from ...store.errors import UsageError
from .output import printable

Hook = Callable[[Path, Finding], None]

COMMAND_SECONDS = 60.0
"""A command that takes longer is stopped: the next look would wait for it."""
WEBHOOK_SECONDS = 10.0
"""How long a server may take."""


def hooks(command: str | None, url: str | None) -> list[Hook]:
    """The hooks that were asked for.

    Raises:
        UsageError: the command does not exist, or the URL is none.
    """
    result: list[Hook] = []
    if command is not None:
        words = _words(command)
        result.append(lambda folder, finding: _run(words, folder, finding))
    if url is not None:
        try:
            parts = urllib.parse.urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(f"--webhook {url}: give a URL that begins with http:// or https://")
        result.append(lambda folder, finding: _post(url, folder, finding))
    return result


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--on-fire {command}: {error}; close the quotes") from error
    if not words or shutil.which(words[0]) is None:
        raise UsageError(f"--on-fire {command}: no such command; give a program and its arguments, or sh -c '…'")
    return words


def _run(words: list[str], folder: Path, finding: Finding) -> None:
    told = {
        "RUN": finding.run,
        "RUN_DIR": str(folder),
        "RULE": finding.rule.name,
        "SEVERITY": finding.rule.severity,
        "TITLE": finding.rule.title,
        "EVIDENCE": "\n".join(finding.evidence),
        "ADVICE": (finding.judgement.advice if finding.judgement else None) or finding.rule.advice,
        "FINDING": json.dumps(finding.as_dict()),
    }
    environment = os.environ | {f"SIMKO_{name}": value.replace("\0", "\\0") for name, value in told.items()}
    try:
        code = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, timeout=COMMAND_SECONDS).returncode
    except subprocess.TimeoutExpired:
        _failed("--on-fire", finding, f"it took more than {COMMAND_SECONDS:.0f} s and was stopped")
    except OSError as error:
        _failed("--on-fire", finding, error.strerror or str(error))
    else:
        if code:
            _failed("--on-fire", finding, f"it ended with code {code}")


def _post(url: str, folder: Path, finding: Finding) -> None:
    body = json.dumps(finding.as_dict() | {"path": str(folder)}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "simko"}
    try:
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        _failed("--webhook", finding, f"the server answered {error.code}")
    except (OSError, ValueError, urllib.error.URLError) as error:
        _failed("--webhook", finding, str(getattr(error, "reason", error)))
    except Exception as error:
        # What a server sends that is no HTTP raises http.client's own errors: they must not end the watch either.
        _failed("--webhook", finding, f"{type(error).__name__} {error}")


def _failed(option: str, finding: Finding, why: str) -> None:
    print(f"warning: {option} failed for {finding.rule.name}: {printable(why)}; going on", file=sys.stderr, flush=True)
