"""Logic problems whose verifiers are pure functions: SynLogic's puzzles and BIG-Bench Hard; `answer` is their JSON.

BIG-Bench Hard is a folder of files named after its subtasks (`navigate.json` with `examples`), or a hub id that has
each as a configuration. `bbh` is all 27 of them, `bbh:navigate` is one; a problem's `prompt_id` names its subtask.
Rows that no verifier can judge are left out, with a warning that says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...store.errors import nearest
from ...store.layout.schema import Verdict
from ..errors import ColumnsMissing, DatasetNotFound, DatasetUnreadable, TaskUnknown
from . import bbh, synlogic
from .catalogue import CATALOGUE, Benchmark
from .dataset import Purpose, Row, read_rows
from .prompts import BBH, SYNLOGIC, PromptFormat, Prompts, cut
from .synlogic.judgement import Judgement

_WANTED = {
    "synlogic": "`data_source`, `prompt`, `reward_model` and `extra_info`",
    "bbh": "`input` and `target`",
}
_COLUMNS = {"synlogic": ("data_source", "prompt", "extra_info"), "bbh": ("input", "target")}
_SUFFIXES = (".json", ".jsonl", ".parquet")

_log = logging.getLogger(__name__)


class PuzzleTask:
    """A `Task` judged by functions.

    Args:
        entry: of the catalogue.
        tokenizer: with a chat template, prompts are chat messages.
        prompt_style: to have them otherwise.

    Raises:
        TaskOptionRefused, ChatTemplateUnusable: the prompts cannot be written as asked.
    """

    enumerates_answers = False
    validation = None

    def __init__(self, entry: Benchmark, *, tokenizer: Any = None, prompt_style: str | None = None) -> None:
        self.name = entry.name
        self._family = entry.grader
        form: PromptFormat = replace(BBH, instruction=bbh.INSTRUCTION) if entry.grader == "bbh" else SYNLOGIC
        self._judge: Callable[[str, str], Judgement] = bbh.judge_json if entry.grader == "bbh" else synlogic.judge_json
        self.prompts = Prompts(form, tokenizer, prompt_style, self.name)
        self.stop = self.prompts.stop
        self.max_completion_length = entry.max_completion_length
        self.settings: Benchmark | None = replace(entry, prompt=self.prompts.style, stop=self.stop)
        self._newest: tuple[list[str], list[bool]] = ([], [])
        self.train: Any = None
        self.heldout: Any = None

    def dataset_of(self, rows: Iterable[tuple[str, Row]], source: str) -> Any:
        """A data set of (identity, row) pairs.

        Raises:
            ColumnsMissing: the rows have another layout.
            DatasetUnreadable: none of them can be judged.
        """
        from datasets import Dataset

        columns: dict[str, list[Any]] = {"prompt": [], "prompt_id": [], "answer": []}
        faults: list[str] = []
        for place, (identity, row) in enumerate(rows):
            if place == 0:
                self._check_columns(row, source)
            try:
                question, answer = self._problem_of(row, identity)
            except ValueError as error:
                faults.append(f"{identity}: {error}")
                continue
            columns["prompt"].append(self.prompts.of([{"role": "user", "content": question}]))
            columns["prompt_id"].append(identity)
            columns["answer"].append(answer)
        if not columns["answer"]:
            raise DatasetUnreadable(f"no row of {source} can be judged ({faults[0] if faults else 'it is empty'})")
        if faults:
            known = len(faults) + len(columns["answer"])
            _log.warning("%d of %d rows of %s are left out (%s)", len(faults), known, source, faults[0])
        return Dataset.from_dict(columns)

    def _problem_of(self, row: Row, identity: str) -> tuple[str, str]:
        if self._family == "synlogic":
            return synlogic.problem_of(row)
        question, answer = bbh.problem_of(row, identity.rpartition("-")[0])
        if bbh.judge_json("", answer).verdict == "unjudged":
            raise ValueError("the target is none that this subtask can have")
        return question.removesuffix(f"\n\n{bbh.INSTRUCTION}"), answer

    def _check_columns(self, row: Mapping[str, Any], source: str) -> None:
        if not all(name in row for name in _COLUMNS[self._family]):
            raise ColumnsMissing(
                f"{source} has the columns {', '.join(map(str, row)) or '(none)'}; wanted are {_WANTED[self._family]}"
            )

    def judge(self, texts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """By the verifier of each problem."""
        judgements = [self._judge(cut(text, self.stop), answer) for text, answer in zip(texts, answers, strict=True)]
        self._newest = list(texts), [judgement.extracted for judgement in judgements]
        return [judgement.verdict for judgement in judgements]

    def extracted(self, texts: Sequence[str]) -> list[bool]:
        """Whether the verifiers found an answer, for the batch judged last; else whether a response says anything.

        What an answer looks like differs between problems, so texts alone do not tell.
        """
        judged, flags = self._newest
        return list(flags) if list(texts) == judged else [bool(cut(text, self.stop).strip()) for text in texts]

    def close(self) -> None:
        """Nothing runs."""


def synlogic_task(
    *, dataset: str | None, eval_dataset: str | None, limit: int | None, eval_limit: int | None, **options: Any
) -> PuzzleTask:
    """SynLogic-easy from the hub, or the data sets given; one's own data set has no held-out part of its own."""
    task = PuzzleTask(CATALOGUE["synlogic"], **options)
    source = CATALOGUE["synlogic"].source
    task.train = task.dataset_of(numbered(dataset or source, "train", limit), dataset or source)
    evaluated = eval_dataset or (None if dataset else source)
    if evaluated is not None:
        task.heldout = task.dataset_of(numbered(evaluated, "eval", eval_limit), evaluated)
    return task


def numbered(source: str, purpose: Purpose, limit: int | None = None) -> list[tuple[str, Row]]:
    """The rows of a data set with their identities."""
    name, rows = read_rows(source, purpose, limit)
    return [(f"{name}-{place}", row) for place, row in enumerate(rows)]


def subtask_rows(name: str, source: str) -> list[tuple[str, Row]]:
    """The rows of `bbh` or `bbh:SUBTASK` with their identities, `navigate-12`.

    Raises:
        TaskUnknown: no such subtask.
        DatasetNotFound, DatasetUnreadable: they cannot be had.
    """
    asked = name.partition(":")[2]
    if asked and asked not in bbh.SUBTASKS:
        near = nearest(asked, bbh.SUBTASKS)
        hint = f"did you mean bbh:{near}?" if near else f"there are {', '.join(bbh.SUBTASKS)}"
        raise TaskUnknown(f"BIG-Bench Hard has no subtask {asked}; {hint}")
    sources = {subtask: found for subtask in bbh.SUBTASKS if (found := _source_of(subtask, source, asked))}
    if asked:
        sources = {asked: sources[asked]} if asked in sources else {}
    if not sources:
        raise DatasetNotFound(
            f"{source} holds no file of {name}: wanted is a folder of files named after subtasks, such as "
            f"{asked or 'navigate'}.json; one file is given as bbh:SUBTASK"
        )
    missing = [] if asked else [subtask for subtask in bbh.SUBTASKS if subtask not in sources]
    if missing:
        _log.warning("%s: %s lacks %d of 27 subtasks: %s", name, source, len(missing), ", ".join(missing))
    return [
        (f"{subtask}-{place}", row)
        for subtask, where in sources.items()
        for place, row in enumerate(read_rows(where, "eval")[1])
    ]


def _source_of(subtask: str, source: str, asked: str) -> str | None:
    path = Path(source).expanduser()
    if path.is_dir():
        return next((str(path / f"{subtask}{end}") for end in _SUFFIXES if (path / f"{subtask}{end}").is_file()), None)
    if path.exists() or path.suffix in _SUFFIXES:
        return source if asked == subtask else None
    return f"{source.partition(':')[0]}:{subtask}"
