from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from simko.trainers.tasks.base import Disagreement
from simko.trainers.tasks.graders import grading_worker
from simko.trainers.tasks.graders.boxed import last_boxed
from simko.trainers.tasks.graders.grading import MathGrader
from simko.trainers.tasks.graders.grading_worker import second_verdict

HANGS = r"\boxed{9^{9^{9^{9}}}}"


@pytest.fixture(scope="module")
def grader() -> Iterator[MathGrader]:
    with MathGrader(workers=1) as grader:
        yield grader


@pytest.mark.parametrize(
    ("response", "gold", "verdict"),
    [
        (r"Half of it, so \boxed{\frac{1}{2}}.", "0.5", "right"),
        (r"First \boxed{3}, no: \boxed{4}.", "4", "right"),
        (r"First \boxed{3}, no: \boxed{4}.", "3", "wrong"),
        (r"\boxed{(x+1)^2}", "x^2+2x+1", "right"),
        (r"\boxed{\text{Evelyn}}", r"\text{Evelyn}", "right"),
        (r"\boxed{\$1,250}", "1250", "right"),
        (r"\boxed{5}", "$5$", "right"),
        ("The answer is 18.", "18", "right"),
        ("The answer is 17.", "18", "wrong"),
        ("I do not know.", "18", "wrong"),
        (r"\boxed{}", "18", "wrong"),
        ("", "18", "wrong"),
        (r"\boxed{3}", "", "unjudged"),
        (r"\boxed{40_9}", "40_9", "right"),
        (r"\boxed{40_{9}}", "40_9", "right"),
        (r"\boxed{40}", "40_9", "right"),
        (r"\boxed{40_{10}}", "40_9", "wrong"),
        (r"\boxed{40_{\text{eight}}}", "40_9", "wrong"),
        (r"\boxed{15\text{ cm}^2}", r"15\mbox{ cm}^2", "right"),
        (r"\boxed{15\text{ square centimeters}}", r"15\mbox{ cm}^2", "right"),
        (r"\boxed{15}", r"15\mbox{ cm}^2", "right"),
        (r"\boxed{15\text{ cm}^3}", r"15\mbox{ cm}^2", "wrong"),
        (r"\boxed{15\text{ cm}}", r"15\mbox{ cm}^2", "wrong"),
        (r"\boxed{864\mbox{ inches}^3}", r"864\mbox{ inches}^2", "wrong"),
        (r"\boxed{15\text{ m}}", r"15\text{ cm}", "wrong"),
        (r"\boxed{60\text{ miles per hour}}", r"60\text{ mph}", "right"),
        (r"\boxed{0.0000013}", "0.0000012", "wrong"),
        (r"\boxed{3e-9}", r"3\times 10^{-9}", "right"),
        (r"\boxed{4e-9}", r"3\times 10^{-9}", "wrong"),
        (r"\boxed{\frac{1}{3601}}", r"\frac{1}{3600}", "wrong"),
        (r"\boxed{0.3333333}", r"\frac{1}{3}", "right"),
        (r"\boxed{\frac{1}{2005!}}", r"\frac{1}{2004!}", "wrong"),
        (r"\boxed{E_1 + \frac{2}{3} E_3}", r"E_1 + \frac{2}{3} E_2", "wrong"),
        (r"\boxed{2}", r"\hbar \omega(v+1 / 2)-\frac{E_{0}^{2} e^{2}}{2 m \omega^{2}}", "wrong"),
        (r"\boxed{x^2+2x+2}", "(x+1)^2", "wrong"),
        (r"\boxed{\textbf{(073)}}", "73", "right"),
        (r"\boxed{-\frac{1}{3}}", "-1./3", "right"),
        (r"\boxed{10\%}", "0.1", "right"),
        (r"\boxed{\text{June 20}}", "June 20", "right"),
        (r"\boxed{\left( -3, \frac{2}{4} \right]}", "(-3,1/2]", "right"),
        (r"\boxed{(-3, 0.333333)}", r"(-3,\frac{1}{3})", "right"),
        (r"\boxed{(3,-2)}", "(3,-1)", "wrong"),
        (r"\boxed{(3,-1)}", "(3,-1]", "wrong"),
        (r"\boxed{(3,-1)}", "(3,-1,2)", "wrong"),
        (r"\boxed{(-1,3)}", "(3,-1)", "wrong"),
        (r"\boxed{(6,3]}", "(5,4]", "wrong"),
        (r"\boxed{(1 2,3)}", "(12,3)", "wrong"),
        (r"\boxed{1 1/2}", r"\frac{11}{2}", "wrong"),
        (r"\boxed{11/2}", "1 1/2", "wrong"),
        (r"\boxed{10 000}", "10000", "right"),
    ],
)
def test_verdicts(grader: MathGrader, response: str, gold: str, verdict: str) -> None:
    assert grader.judge([response], [gold]) == [verdict]


def test_hostile_text_is_never_right_and_does_no_harm(grader: MathGrader, tmp_path) -> None:
    touched = tmp_path / "touched"
    hostile = [
        r"\boxed{" * 20_000,
        "$" * 100_000,
        "1+" * 50_000,
        rf"\boxed{{__import__('pathlib').Path('{touched}').touch()}}",
        "\x00\ud800\u2028\n",
    ]
    assert "right" not in grader.judge(hostile, ["7"] * len(hostile))
    assert not touched.exists()
    assert grader.judge([r"\boxed{7}"], ["7"]) == ["right"]


def test_a_worker_that_died_is_replaced_and_close_can_be_followed_by_more(grader: MathGrader) -> None:
    assert grader.judge([r"\boxed{1}"], ["1"]) == ["right"]
    grader._workers[0]._process.kill()
    grader._workers[0]._process.wait()
    assert grader.judge([r"\boxed{1}", r"\boxed{2}"], ["1", "2"]) == ["unjudged", "right"]
    grader.close()
    assert grader._workers == []
    assert grader.judge([r"\boxed{1}"], ["1"]) == ["right"]


def test_several_workers_keep_places_end_what_hangs_and_count_disagreements_that_change_no_verdict() -> None:
    with MathGrader(seconds=0.5, workers=2) as grader:
        golds = [str(n) for n in range(40)]
        verdicts = grader.judge([rf"\boxed{{{n - n % 2}}}" for n in range(40)], golds)
        assert verdicts == ["right", "wrong"] * 20
        assert grader.disagreement == Disagreement(judged=40)
        responses = [r"\boxed{1}", r"\boxed{15\text{ cm}^3}", HANGS, r"\boxed{40}", HANGS, r"\boxed{3}"]
        golds = ["1", r"15\text{ cm}^2", "1", "40_9", "1", "4"]
        # Both workers are ended before the last answer, which is judged by one that took the place of another
        expected = ["right", "wrong", "unjudged", "right", "unjudged", "wrong"]
        assert grader.judge(responses, golds) == expected
        assert grader.disagreement == Disagreement(judged=4, right_for_second=1, wrong_for_second=1)


@pytest.mark.parametrize(
    ("response", "gold", "second"),
    [
        (r"\boxed{\frac12}", "0.5", "right"),
        ("The answer is 18.", "18", "right"),
        ("It costs 18 or so: 17.", "18", "wrong"),
        (r"\boxed{50.004}", "50", "right"),
        (r"\boxed{50.006}", "50", "wrong"),
        (r"\boxed{50}", "0.5", "right"),
        (r"\boxed{x = 5}", "5", "right"),
        (r"\boxed{(1, \frac{2}{4})}", "(1,0.5)", "right"),
        (r"\boxed{\begin{pmatrix}1\\2\end{pmatrix}}", r"\begin{pmatrix}1\\3\end{pmatrix}", "wrong"),
        (r"\boxed{y - 1 = 2x}", "y = 2x + 1", "right"),
        (r"\boxed{y = 2x}", "y = 2x + 1", "wrong"),
        (r"\boxed{x^2+2x+1}", "(x+1)^2", "right"),
        (r"\boxed{40_{10}}", "40_9", "wrong"),
        (r"\boxed{15\text{ cm}^3}", r"15\text{ cm}^2", "right"),
        ("", "1", "wrong"),
    ],
)
def test_the_second_grader_follows_the_paper(response: str, gold: str, second: str) -> None:
    assert second_verdict(response, gold) == second


def test_what_the_second_grader_takes_too_long_for_is_wrong(monkeypatch) -> None:
    monkeypatch.setattr(grading_worker, "SECOND_SECONDS", 0.1)
    assert second_verdict(HANGS, "1") == "wrong"


def test_no_process_before_the_first_answer() -> None:
    grader = MathGrader()
    assert grader._workers == []
    assert grader.judge([], []) == [] and grader._workers == []


def test_the_worker_imports_nothing_that_is_slow_to_load() -> None:
    code = (
        "import simko.trainers.tasks.graders.grading_worker, sys; sys.exit(bool({'torch', 'pyarrow'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} then \fbox{2}", "2"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed 5$.", "5"),
        (r"\boxed{1} and \boxed{2", None),
        ("no box", None),
    ],
)
def test_last_boxed(text: str, content: str | None) -> None:
    assert last_boxed(text) == content
