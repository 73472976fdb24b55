"""Problems that the package reasoning-gym generates here from a seed: `reasoning_gym:letter_counting` and others.

A response is right where the package's own scorer gives it 1.0; part credit is wrong. Training, held-out and validation
problems come from seeds a million apart: the package makes problem i of seed s from s + i, so seeds 0 and 1 share all
but one of their problems. Problems of one text are taken once, and no text is in two parts.

`few_shot` prompts show three problems of the training seed, which are then in no part; where answers take one
line, a new line ends the response. Other prompts ask for `<answer>…</answer>`, and nothing else in a response counts.

Scorers that evaluate the response as Python code are refused (`EVALUATES`): a policy's text is never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...store.errors import nearest
from ...store.layout.schema import Verdict
from ..errors import PackageMissing, TaskOptionRefused, TaskUnknown
from .catalogue import CATALOGUE, Benchmark
from .prompts import PromptFormat, Prompts, cut
from .task_options import read_options

FAMILY = "reasoning_gym"
SEEDS_APART = 1_000_000
LARGEST_SEED = 1400
"""Beyond it seeds would leave 32 bits, which some generators need."""
SHOTS = 3
EVALUATES = frozenset(
    (
        "binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication", "puzzle24",
        "simple_integration", "spiral_matrix", "string_insertion",
    )
)  # fmt: skip
"""Tasks whose scorer calls `eval` or SymPy's `parse_expr` on the response (reasoning-gym 0.1.25)."""
ONE_LINE_TOKENS = 64
LONGEST_RESPONSE = 100_000
"""Characters; a longer response is judged by its end."""
_PARTS = ("train", "heldout", "validation")
_ATTEMPTS = 5
"""Problems generated at most for each one wanted, where many have the same text."""
_INSTALL = "pip install 'simko[reasoning-gym]'"
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_FORM = PromptFormat(
    "Give your final answer between <answer> and </answer>.",
    "<answer>",
    question="Question:",
    answer="Answer:",
    gap="\n",
)


@dataclass(frozen=True)
class Settings:
    """Of the problems.

    Attributes:
        size: training problems.
        heldout_size: held-out ones.
        validation_size: problems to choose settings by; 0: none.
        seed: of every part.
    """

    size: int = 1000
    heldout_size: int = 100
    validation_size: int = 0
    seed: int = 0


@cache
def known_names() -> tuple[str, ...]:
    """The tasks of the installed package, read off its source: to import it takes seconds.

    Raises:
        PackageMissing: it is not installed.
    """
    spec = find_spec(FAMILY)
    if spec is None or not spec.submodule_search_locations:
        raise PackageMissing(f"{FAMILY}:TASK needs the package reasoning-gym: {_INSTALL}")
    names = set()
    for path in Path(spec.submodule_search_locations[0]).rglob("*.py"):
        names |= set(re.findall(r'^DATASET_NAME\s*=\s*"(\w+)"', path.read_text(encoding="utf-8"), re.MULTILINE))
    return tuple(sorted(names))


def check_name(name: str) -> None:
    """See that there is a task of that name, and that its scorer can be trusted with a response.

    Raises:
        TaskUnknown: there is none; the nearest is told.
        TaskOptionRefused: its scorer runs what a response says.
        PackageMissing: reasoning-gym is not installed.
    """
    if name not in known_names():
        near = nearest(name, known_names())
        hint = f"did you mean {FAMILY}:{near}?" if near else f"there are {', '.join(known_names())}"
        raise TaskUnknown(f"reasoning-gym has no task {name or '(none given)'}; {hint}")
    if name in EVALUATES:
        raise TaskOptionRefused(
            f"{FAMILY}:{name} is refused: its scorer runs the response as Python code; choose another task"
        )


class ReasoningGymTask:
    """A `Task` of generated problems; `answer` is JSON: where the problem is (`part`, `index`) and a right answer.

    Args:
        name: the task's name in the package.
        options: `size`, `heldout_size`, `validation_size`, `seed`, and what the task itself takes.
        tokenizer: with a chat template, prompts are chat messages.
        prompt_style: to have them otherwise.

    Raises:
        TaskUnknown, TaskOptionRefused: the name or an option is wrong.
        PackageMissing: reasoning-gym is not installed, or not whole.
    """

    enumerates_answers = False

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | str | None = None,
        *,
        tokenizer: Any = None,
        prompt_style: str | None = None,
    ) -> None:
        check_name(name)
        self.name = f"{FAMILY}:{name}"
        settings, parameters = _split_options(name, read_options(options))
        self._parts = {
            part: _generator(name, parameters, _seed_of(settings.seed, part), (size + SHOTS) * _ATTEMPTS)
            for part, size in _sizes(settings).items()
        }
        train = _distinct(self._parts["train"])
        examples = [item for _, item in zip(range(SHOTS), train, strict=False)]
        form = _with_shots([(entry["question"], str(entry["answer"])) for _, entry in examples])
        self.prompts = Prompts(form, tokenizer, prompt_style, self.name)
        self.stop = self.prompts.stop
        one_line = self.stop == ("\n",)
        entry = CATALOGUE[FAMILY]
        self.max_completion_length = ONE_LINE_TOKENS if one_line else entry.max_completion_length
        self.settings: Benchmark | None = replace(
            entry,
            name=self.name,
            rows=None,
            prompt=self.prompts.style,
            stop=self.stop,
            max_completion_length=self.max_completion_length,
        )
        shown = {entry["question"] for _, entry in examples} if self.prompts.style == "few_shot" else set()
        self._taken = shown  # texts that no further part may have
        self.heldout: Any = self._dataset("heldout", settings.heldout_size)
        self.validation: Any = None
        if settings.validation_size:
            self.validation = self._dataset("validation", settings.validation_size)
        self.train: Any = self._dataset("train", settings.size)

    def _dataset(self, part: str, size: int) -> Any:
        from datasets import Dataset

        chosen = []
        for index, entry in _distinct(self._parts[part]):
            if entry["question"] not in self._taken and entry["answer"] is not None:
                chosen.append((index, entry))
            if len(chosen) == size:
                break
        if len(chosen) < size:
            option = "size" if part == "train" else f"{part}_size"
            raise TaskOptionRefused(
                f"{self.name}: these --task_options give only {len(chosen)} of {size} {part} problems, each text once "
                f"and none in two parts; ask for fewer ({option}=N) or a wider range"
            )
        self._taken = self._taken | {entry["question"] for _, entry in chosen}
        prompt = [self.prompts.of([{"role": "user", "content": entry["question"]}]) for _, entry in chosen]
        return Dataset.from_dict(
            {
                "prompt": prompt,
                "prompt_id": [f"{self.name}-{part}-{index}" for index, _ in chosen],
                "answer": [
                    json.dumps({"part": part, "index": index, "answer": str(entry["answer"])}, ensure_ascii=False)
                    for index, entry in chosen
                ],
            }
        )

    def judge(self, texts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
        """By the package's scorer; unjudged where it fails."""
        return [self._verdict(text, json.loads(answer)) for text, answer in zip(texts, answers, strict=True)]

    def _verdict(self, text: str, where: Mapping[str, Any]) -> Verdict:
        answer = self._answer_in(text)
        if not answer:
            return "wrong"
        problems = self._parts[where["part"]]
        try:
            return "right" if float(problems.score_answer(answer, problems[where["index"]])) == 1.0 else "wrong"
        except Exception:  # scorers are a hundred hands' work
            return "unjudged"

    def extracted(self, texts: Sequence[str]) -> list[bool]:
        """Whether a response has an answer in the asked form."""
        return [bool(self._answer_in(text)) for text in texts]

    def _answer_in(self, text: str) -> str | None:
        text = cut(text, self.stop)[-LONGEST_RESPONSE:]
        if self.prompts.style == "few_shot":
            return text.strip()
        found = _ANSWER.findall(text)
        return found[-1].strip() if found else None

    def close(self) -> None:
        """Nothing runs."""


def _sizes(settings: Settings) -> dict[str, int]:
    return {"train": settings.size, "heldout": settings.heldout_size, "validation": settings.validation_size}


def _seed_of(seed: int, part: str) -> int:
    return (len(_PARTS) * seed + _PARTS.index(part)) * SEEDS_APART


def _distinct(problems: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The problems with their places, each text once."""
    seen = set()
    for index in range(len(problems)):
        entry = problems[index]
        if entry["question"] not in seen:
            seen.add(entry["question"])
            yield index, entry


def _with_shots(shots: Sequence[tuple[str, str]]) -> PromptFormat:
    one_line = all("\n" not in answer for _, answer in shots)
    return replace(_FORM, shots=tuple(shots), stop=("\n",) if one_line else ("\n\nQuestion:",))


def _package() -> Any:
    try:
        import reasoning_gym.factory
    except ImportError as error:
        raise PackageMissing(f"reasoning-gym cannot be imported ({error}): {_INSTALL}") from error
    return reasoning_gym.factory


def _split_options(name: str, options: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Ours, and those of the task itself."""
    ours = {field.name for field in fields(Settings)}
    theirs = {field.name for field in fields(_package().DATASETS[name][1])} - {"seed", "size"}
    for option in options:
        if option not in ours | theirs:
            near = nearest(option, ours | theirs)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(sorted(ours | theirs))}"
            raise TaskOptionRefused(f"{FAMILY}:{name} has no task option {option}; {hint}")
    limits = {
        "size": (1, SEEDS_APART // _ATTEMPTS - SHOTS),
        "heldout_size": (1, 10_000),
        "validation_size": (0, 10_000),
        "seed": (0, LARGEST_SEED),
    }
    for option, (least, most) in limits.items():
        value = options.get(option, least)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise TaskOptionRefused(f"task option {option} must be a whole number from {least} to {most}, not {value}")
    settings = Settings(**{option: options[option] for option in ours & options.keys()})
    return settings, {option: options[option] for option in theirs & options.keys()}


def _generator(name: str, parameters: Mapping[str, Any], seed: int, size: int) -> Any:
    try:
        return _package().create_dataset(name, seed=seed, size=size, **parameters)
    except (AssertionError, TypeError, ValueError, KeyError) as error:  # how the package refuses parameters
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TaskOptionRefused(f"{FAMILY}:{name} refuses the task options {dict(parameters)}: {reason}") from error
