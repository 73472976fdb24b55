"""What a person sees while a study runs: a live table on a terminal, elsewhere a line for each run that ends.

How far a run is, and its latest pass@k, are read from the end of its log; nothing is asked of the run itself.
"""

from __future__ import annotations

import re
import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .workers import JobOutcome, Running, Watcher, tail

_STEP = re.compile(r"^step +(\d+)/(\d+) ", re.M)
_PASS = re.compile(r"^step \d+  pass@1 (\S+) .*?(?:pass@256 (\S+) .*)?$", re.M)


class StudyProgress(Watcher):
    """Shows the jobs of a study.

    Args:
        total: how many jobs there are to do, in all stages.
        done: how many were done before.
        workers: how many run at a time.
    """

    def __init__(self, total: int, done: int, workers: int) -> None:
        self._total, self._done, self._workers = total, done, workers
        self._ended = {"finished": 0, "failed": 0}
        self._running: list[Running] = []
        self._seconds: list[float] = []
        self._began = time.monotonic()
        self._live = Live(console=Console(), auto_refresh=False, transient=True) if sys.stdout.isatty() else None

    def __enter__(self) -> StudyProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def began(self, running: Running) -> None:
        """Take in a job that has started."""
        self._running.append(running)

    def ended(self, outcome: JobOutcome) -> None:
        """Take in a job that has ended, and say so."""
        self._running = [running for running in self._running if running.job != outcome.job]
        self._ended[outcome.status] += 1
        if _STEP.search(tail(outcome.job.log)):  # building a base policy, or failing at once, tells nothing
            self._seconds.append(outcome.wall_seconds)
        count = f"[{sum(self._ended.values())}/{self._total}]"
        line = f"{count} {outcome.status} {outcome.job.name} in {duration(outcome.wall_seconds)}"
        self.say(line + (f": {outcome.reason}" if outcome.reason else ""))

    def say(self, line: str) -> None:
        """Print a line, above the table if there is one."""
        if self._live is not None:
            self._live.console.print(Text(line))
        else:
            print(line, flush=True)

    def tick(self) -> None:
        """Draw the table anew."""
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)

    def _picture(self) -> Group:
        table = Table()
        for heading in ("running", "step", "pass@1", "pass@256", "time"):
            table.add_column(heading, justify="left" if heading == "running" else "right")
        now = time.monotonic()
        shares = []
        for running in self._running:
            text = tail(running.job.log)
            step, steps = (_STEP.findall(text) or [("", "")])[-1]
            first, last = (_PASS.findall(text) or [("", "")])[-1]
            shares.append(int(step) / int(steps) if steps else 0.0)
            shown = f"{step}/{steps}" if steps else ""
            table.add_row(Text(running.job.name), shown, first, last, duration(now - running.began))
        waiting = self._total - sum(self._ended.values()) - len(self._running)
        counts = [f"{self._done} done before", *(f"{n} {status}" for status, n in self._ended.items())]
        counts += [f"{len(self._running)} running", f"{waiting} to do", f"{duration(now - self._began)} elapsed"]
        left = self._left(shares, waiting, now)
        if left is not None:
            counts.append(f"about {duration(left)} left")
        return Group(table, Text("  ".join(counts)))

    def _left(self, shares: list[float], waiting: int, now: float) -> float | None:
        """Seconds until the last job ends, from the jobs that have ended, else from how far the running ones are."""
        lengths = list(self._seconds) or [
            (now - running.began) / share for running, share in zip(self._running, shares, strict=True) if share > 0
        ]
        if not lengths:
            return None
        return sum(lengths) / len(lengths) * (waiting + sum(1 - share for share in shares)) / self._workers


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
