"""Whether the verifiers of SynLogic and BIG-Bench-Hard agree with the published ones, and how fast they are.

    python benchmarks/verifiers.py FOLDER [BBH] [--show 10]

FOLDER holds items (`synlogic_*.jsonl`: rows in verl's layout) and verdicts of the published verifiers
(`*_verdicts_*.jsonl`: `index`, `data_source`, `kind`, `response`, `verdict` of the response, `verdict_answer_tag` of
the text between its answer tags, `target` for BIG-Bench-Hard). BBH holds that data set's `<subtask>.json`.

`compared` counts verdicts, two a row; `agree` those that are equal; `listed` those that differ in a way that
`EXCEPTIONS` lists. Any other makes the exit code 1. `reference` counts the items whose own answer is right (rows of
the kind `ref_bare`; every example of BIG-Bench-Hard), `perturbed` those whose answer is wrong once one of its numbers,
words or marks is changed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from simko.trainers.tasks import bbh, synlogic

OPPOSITES = (("yes", "no"), ("Yes", "No"), ("True", "False"), ("invalid", "valid"), ("是", "否"), ("'C'", "'X'"))
BRACKETS = {")": "]", "]": ")", "}": ")", ">": ")"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of items and verdicts")
    parser.add_argument("bbh", type=Path, nargs="?", help="folder of BIG-Bench-Hard's <subtask>.json")
    parser.add_argument("--show", type=int, default=10, help="answers listed that were not judged as expected")
    options = parser.parse_args()
    report = Report(options.show)
    problems = {}
    for row in rows(options.folder, "synlogic_*.jsonl"):
        if "extra_info" in row:
            problems[row["data_source"], row["extra_info"]["index"]] = synlogic.problem_of(row)[1]
    for row in rows(options.folder, "*_verdicts_*.jsonl"):
        task = row["data_source"]
        if task.startswith("bbh_"):
            answer = json.dumps({"task": task, "answer": row["target"]})
            report.compare(task, row, answer, bbh.judge_json)
        elif (task, row["index"]) in problems:
            answer = problems[task, row["index"]]
            report.compare(task, row, answer, synlogic.judge_json)
            if row["kind"] == "ref_bare":
                report.perturb(task, row["response"], answer, synlogic.judge_json)
    for file in sorted(options.bbh.glob("*.json")) if options.bbh else []:
        for example in json.loads(file.read_text())["examples"]:
            _, answer = bbh.problem_of(example, file.stem)
            report.perturb(f"bbh_{file.stem}", f"The answer is {example['target']}.", answer, bbh.judge_json)
    report.print()
    sys.exit(1 if report.unlisted else 0)


def rows(folder: Path, pattern: str) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob(pattern)):
        yield from (json.loads(line) for line in file.read_text().splitlines())


class Report:
    """Counts per task."""

    def __init__(self, show: int) -> None:
        self.show = show
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.seconds: Counter[str] = Counter()
        self.unlisted = 0

    def compare(self, task: str, row: dict[str, Any], answer: str, judge: Callable[..., synlogic.Judgement]) -> None:
        """Both verdicts of a row with ours; the text without tags is empty for the published one, not the response."""
        tagged = row["response"] if synlogic.answer_text(row["response"]) != row["response"] else ""
        for text, tags, theirs in ((row["response"], False, "verdict"), (tagged, True, "verdict_answer_tag")):
            start = time.process_time()
            ours = judge(text, answer, tags=tags)
            self.seconds[task] += time.process_time() - start
            count = self.counts[task]
            count["compared"] += 1
            if (ours.verdict == "right") == bool(row[theirs]):
                count["agree"] += 1
            elif ours.exception in {**synlogic.EXCEPTIONS, **bbh.EXCEPTIONS}:
                count["listed"] += 1
                self.kinds[task][str(ours.exception)] += 1
            else:
                self.unlisted += 1
                self.tell(task, f"ours {ours.verdict}, theirs {row[theirs]}", row["response"])

    def perturb(self, task: str, response: str, answer: str, judge: Callable[..., synlogic.Judgement]) -> None:
        """The item's own answer, and the same with one change."""
        count, changed = self.counts[task], perturbed(response)
        count["items"] += 1
        for kind, text, wanted in (("reference", response, "right"), ("perturbed", changed, "wrong")):
            start = time.process_time()
            verdict = judge(text, answer).verdict
            self.seconds[task] += time.process_time() - start
            count[kind] += verdict == wanted
            if verdict != wanted:
                self.tell(task, f"{kind} is {verdict}", text)

    def tell(self, task: str, what: str, response: str) -> None:
        """One of the first answers that were not judged as expected."""
        if self.show > 0:
            self.show -= 1
            print(f"{task}: {what}: {response[-160:]!r}")

    def print(self) -> None:
        """One line a task, and a sum."""
        print(
            f"{'task':42} {'compared':>8} {'agree':>6} {'listed':>6} {'items':>6} {'reference':>9} {'perturbed':>9} "
            f"{'a CPU-second':>12}"
        )
        for task, count in sorted(self.counts.items()):
            answers = count["compared"] + 2 * count["items"]
            print(
                f"{task:42} {count['compared']:8} {count['agree']:6} {count['listed']:6} {count['items']:6} "
                f"{count['reference']:9} {count['perturbed']:9} {answers / max(self.seconds[task], 1e-6):12.0f}"
                + "".join(f"  {kind}: {number}" for kind, number in self.kinds[task].items())
            )
        total = sum(self.counts.values(), Counter())
        print(f"{sum(self.seconds.values()):.2f} CPU-seconds, {dict(total)}, {self.unlisted} not listed")


def perturbed(text: str) -> str:
    """With its last number raised by one; else its last word turned, or its last option, bracket or letter changed."""
    if numbers := list(re.finditer(r"\d+", text)):
        last = numbers[-1]
        return f"{text[: last.start()]}{str(int(last.group()) + 1).zfill(len(last.group()))}{text[last.end() :]}"
    found = [(text.rfind(one), one, other) for pair in OPPOSITES for one, other in (pair, pair[::-1]) if one in text]
    if found:
        place, one, other = max(found, key=lambda each: (each[0], len(each[1])))
        return text[:place] + other + text[place + len(one) :]
    if option := list(re.finditer(r"\(([A-Z])\)", text)):
        place = option[-1].start(1)
        return f"{text[:place]}{'B' if text[place] == 'A' else 'A'}{text[place + 1 :]}"
    marks = list(re.finditer(r"[)\]}>](?=[^\w\s]*$)", text)) if not re.search(r"\\boxed", text) else []
    if marks and not re.search(r"[A-Za-z]\W*$", text):
        place = marks[-1].start()
        return text[:place] + BRACKETS[text[place]] + text[place + 1 :]
    letters = list(re.finditer(r"[^\W\d_]", text))
    place = letters[-1].start()
    return f"{text[:place]}{'b' if text[place] in 'aA' else 'a'}{text[place + 1 :]}"


if __name__ == "__main__":
    main()
