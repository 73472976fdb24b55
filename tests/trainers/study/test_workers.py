"""Jobs on worker processes: what they print, how they fail, and that none disturbs the others."""

from __future__ import annotations

import pytest
import studies
from simko.trainers.study.workers import Job, Watcher, run_jobs, tail


class Seen(Watcher):
    """Keeps the outcomes by name, and how many jobs ran at a time."""

    def __init__(self):
        self.outcomes, self.running, self.most = {}, 0, 0

    def began(self, running):
        self.running += 1
        self.most = max(self.most, self.running)

    def ended(self, outcome):
        self.running -= 1
        self.outcomes[outcome.job.name] = outcome


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    calls = [studies.crash, studies.vanish, studies.refuse, studies.succeed, studies.succeed]
    jobs = [Job(f"{i}", call, ("a b", "c"), folder / f"{i}.log") for i, call in enumerate(calls)]
    watcher = Seen()
    run_jobs(jobs, 2, watcher)
    run_jobs(jobs[4:], 2, watcher)
    return folder, watcher


def test_no_failure_stops_the_others(seen):
    _, watcher = seen
    assert [watcher.outcomes[str(i)].status for i in range(5)] == ["failed"] * 3 + ["finished"] * 2
    assert watcher.most == 2


def test_the_reason_is_the_last_line_of_the_log(seen):
    _, watcher = seen
    reasons = [watcher.outcomes[str(i)].reason for i in range(4)]
    assert reasons == [
        "RuntimeError: something broke",
        "killed by SIGKILL; its log ends: step 3/4  busy",
        "refused: nonsense",
        "",
    ]


def test_time_is_told_unless_the_process_could_not(seen):
    _, watcher = seen
    assert watcher.outcomes["1"].cpu_seconds is None
    assert watcher.outcomes["3"].cpu_seconds > 0


def test_logs_hold_all_output_and_grow_by_attempt(seen):
    folder, _ = seen
    text = (folder / "4.log").read_text()
    assert [line[:4] for line in text.splitlines()] == ["--- ", "firs", "a b ", ""] * 2
    assert "succeed 'a b' c" in text.splitlines()[0]
    assert tail(folder / "4.log") == "first 1\na b c\n\n"
    assert tail(folder / "nowhere.log") == ""
