r"""How often the graders of math answers are right on published problems, and how many they judge per CPU-second.

    python benchmarks/graders.py FOLDER [--only math500 gsm8k] [--rows 500] [--show 10]
    python benchmarks/graders.py --benchmark amc23=amc23.parquet --benchmark bbh=bbh/

FOLDER holds data sets in any layout that `--dataset` reads (`math_test.parquet`, `gsm8k_test.jsonl`, …). Each row gives
two responses. Its published solution should be right (its gold answer in a box where no solution ends in one). Its gold
answer with the last number raised by one should be wrong (with one letter changed where there is no number); one
that happens to equal the gold answer counts against the grader all the same. `differ` counts the answers about which
the second grader says otherwise.

With `--benchmark` problems are loaded by name, and the answers are the gold answer in the form that the prompt asks
for, and another one in that form: for BIG-Bench Hard the gold answer of another example of the subtask. The seconds are
CPU-seconds for both answers of every problem, the start of the grader's processes included.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simko.trainers.tasks.catalogue import benchmark_for
from simko.trainers.tasks.dataset import read_rows
from simko.trainers.tasks.graders.boxed import last_boxed
from simko.trainers.tasks.graders.grading import MathGrader
from simko.trainers.tasks.problems import read_problem

SUFFIXES = (".parquet", ".jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="of .parquet and .jsonl files")
    parser.add_argument("--benchmark", action="append", default=[], metavar="NAME=DATASET", help="measured as a task")
    parser.add_argument("--only", nargs="+", default=[""], help="files whose names hold one of these")
    parser.add_argument("--rows", type=int, help="at most that many rows of each file")
    parser.add_argument("--show", type=int, default=5, help="misjudged answers listed for each file")
    options = parser.parse_args()
    if options.benchmark:
        measure_benchmarks([pair.split("=", 1) for pair in options.benchmark])
        return
    files = [file for file in sorted(options.folder.iterdir()) if file.suffix in SUFFIXES]
    print(
        f"{'data set':28} {'answers':12} {'n':>5} {'as wanted':>9} {'unjudged':>8} {'differ':>6} {'a CPU-second':>12}"
    )
    for file in files:
        if any(part in file.name for part in options.only):
            measure(file, options.rows, options.show)


def measure(file: Path, limit: int | None, show: int) -> None:
    """One line a kind of answer, and the answers that were misjudged."""
    _, rows = read_rows(str(file), "eval", limit)
    problems = [(row, gold) for row in rows if (gold := read_problem(row)[1]) is not None]
    golds = [gold for _, gold in problems]
    kinds = {
        "published": ([solution_of(row) or f"\\boxed{{{gold}}}" for row, gold in problems], "right"),
        "perturbed": ([f"\\boxed{{{perturbed(gold)}}}" for gold in golds], "wrong"),
    }
    for kind, (texts, wanted) in kinds.items():
        verdicts, differ, seconds = judged(texts, golds)
        count = Counter(verdicts)
        print(
            f"{file.stem:28} {kind:12} {len(texts):5} {count[wanted] / len(texts):9.2%} {count['unjudged']:8} "
            f"{differ:6} {len(texts) / seconds:12.0f}",
            flush=True,
        )
        for text, gold, verdict in zip(texts, golds, verdicts, strict=True):
            if verdict != wanted and show > 0:
                show -= 1
                print(f"    {verdict}: {(last_boxed(text) or text[-80:])!r} for {gold!r}")


def measure_benchmarks(pairs: Sequence[Sequence[str]]) -> None:
    """A line of a Markdown table for each benchmark."""
    print("| benchmark | problems | reference right | other answer wrong | CPU-seconds |\n|---|---:|---:|---:|---:|")
    for name, source in pairs:
        before = _used()
        task = benchmark_for(name, dataset=source)
        answers = list(task.heldout["answer"])
        ids = [str(identity).rpartition("-")[0] for identity in task.heldout["prompt_id"]]
        texts = _bbh_texts(answers, ids) if name.startswith("bbh") else _math_texts(answers)
        shares = []
        for kind, wanted in ((0, "right"), (1, "wrong")):
            chosen = [
                (pair[kind], answer) for pair, answer in zip(texts, answers, strict=True) if pair[kind] is not None
            ]
            verdicts = task.judge([text for text, _ in chosen], [answer for _, answer in chosen])
            shares.append(verdicts.count(wanted) / len(verdicts))
        task.close()
        print(f"| {name} | {len(answers)} | {shares[0]:.1%} | {shares[1]:.1%} | {_used() - before:.1f} |", flush=True)


def _math_texts(answers: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (f"The answer is $\\boxed{{{gold}}}$.", f"The answer is $\\boxed{{{perturbed(gold)}}}$.") for gold in answers
    ]


def _bbh_texts(answers: Sequence[str], subtasks: Sequence[str]) -> list[tuple[str, str | None]]:
    golds = [str(json.loads(answer)["answer"]) for answer in answers]
    texts = []
    for place, gold in enumerate(golds):
        others = (golds[i] for i in range(place - len(golds), place) if subtasks[i] == subtasks[place])
        other = next((one for one in others if one != gold), None)
        texts.append((f"The answer is {gold}.", None if other is None else f"The answer is {other}."))
    return texts


def _used() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + _children()


def judged(texts: Sequence[str], golds: Sequence[str]) -> tuple[list[str], int, float]:
    """(verdicts, how many the second grader judged otherwise, CPU-seconds of the grader's processes)."""
    before = _children()
    with MathGrader(workers=1) as grader:
        grader.judge(["\\boxed{1}"], ["1"])
        verdicts: list[Any] = grader.judge(texts, golds)
    after = _children()
    with MathGrader(workers=1) as idle:  # what a start takes is not the answers' time
        idle.judge(["\\boxed{1}"], ["1"])
    start = _children() - after
    return verdicts, grader.disagreement.count, max(after - before - start, 1e-3)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def solution_of(row: dict[str, Any]) -> str | None:
    """A published worked solution that ends in its answer, or None."""
    truth = (row.get("reward_model") or {}).get("ground_truth")
    texts = [truth.get("solution") if isinstance(truth, dict) else None, row.get("solution"), row.get("answer")]
    for text in texts:
        if isinstance(text, str) and (last_boxed(text) or "####" in text):
            return text
    return None


def perturbed(gold: str) -> str:
    """The answer with its last number raised by one; without a number, with its last letter changed."""
    numbers = list(re.finditer(r"\d+", gold))
    if numbers:
        last = numbers[-1]
        return f"{gold[: last.start()]}{int(last.group()) + 1}{gold[last.end() :]}"
    letters = list(re.finditer(r"[A-Za-z]", gold))
    if not letters:
        return gold + "1"
    letter = letters[-1]
    other = {"a": "b", "A": "B"}.get(letter.group(), "a" if letter.group().islower() else "A")
    return f"{gold[: letter.start()]}{other}{gold[letter.end() :]}"


if __name__ == "__main__":
    main()
