"""From a study to its runs: names, options and command lines, each parsed as `simko-train` will parse it.

A run's options are, later wins: the study's, the shared grid's choice, what the entry inherits, the entry's own, its
grid's choice, `--max_steps`. A grid that has not been searched yet stands for itself by its first values, so that every
command line can be checked before anything starts; such a run names those options in `unchosen` and cannot be started.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...store.errors import UsageError
from ..options.layers import known_names
from ..options.methods import check_group, check_options, objective_of
from ..options.parsing import as_options, parse
from ..options.values import hint
from .bases import base_folder, check_bases
from .reading import Grid, Options
from .specification import SHARED, Entry, StudySpecification

Role = Literal["selection", "compare", "frontier"]
Choices = Mapping[str, Options]
"""`shared` or an entry's label → what the search of its grid chose."""
SELECTION_FOLDER = "selection"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class PlannedRun:
    """One training run.

    Attributes:
        name: unique in the study.
        label: of the entry, or `shared`.
        base_seed: of its base policy; None where the options name a model.
        base: what it starts from, as `study.json` names it.
        learning_rate_scale: multiple of the reference's learning rate; 1 but for the frontier.
        options: given to `simko-train` beside what the study sets itself.
        unchosen: options among them whose value is not chosen yet.
        folder: where it is written.
        arguments: the command line of `simko-train`.
        recorded: the options its `run.json` will hold.
    """

    name: str
    label: str
    method: str
    role: Role
    seed: int
    base_seed: int | None
    base: str
    learning_rate_scale: float
    options: Options
    unchosen: tuple[str, ...]
    folder: Path
    arguments: tuple[str, ...]
    recorded: Options


class Plan:
    """The runs of a study.

    Args:
        study: what is compared.
        output: the study's folder.
        seeds: only these of the study's seeds.
        max_steps: instead of every run's own.

    Raises:
        UsageError: a run is not possible as asked, or two would have one name.
    """

    def __init__(
        self, study: StudySpecification, output: Path, *, seeds: list[int] | None = None, max_steps: int | None = None
    ) -> None:
        self.study, self.output = study, output
        self.overrides: Options = {}
        if seeds is not None:
            if unknown := [seed for seed in seeds if seed not in study.seeds]:
                raise UsageError(f"--seeds {unknown[0]} is none of the study's seeds {list(study.seeds)}")
            self.overrides["seeds"] = list(dict.fromkeys(seeds))
        if max_steps is not None:
            self.overrides["max_steps"] = max_steps
        self._seeds = tuple(self.overrides.get("seeds", study.seeds))
        self._last = {} if max_steps is None else {"max_steps": max_steps}
        self._known = known_names()
        check_bases(study)
        self._check()

    def stages(self) -> list[list[str]]:
        """The searches by what they wait for: the shared one, then those of the entries (by label)."""
        stages = [[SHARED]] if self.study.selection.shared else []
        own = [entry.label for entry in self.study.entries if entry.grid]
        return [*stages, own] if own else stages

    def search(self, label: str, chosen: Choices) -> list[PlannedRun]:
        """The selection runs of one grid, in the grid's order, the seeds of a point together."""
        selection = self.study.selection
        if label == SHARED:
            method, grid = selection.method, selection.shared or {}
            entry = self._reference(method)
            options = self.study.options | (entry.options if entry else {})
        else:
            entry = self.study.entry(label)
            method, grid = entry.method, entry.grid
            options = self._options(entry, {**chosen, label: {}})
        runs = []
        for point in points(grid):
            name = "-".join([_slug(label), *(key + _UNFIT.sub("-", str(value)) for key, value in point.items())])
            merged = options | point | self._last
            unchosen = () if label == SHARED else self._unchosen(entry, {**chosen, label: {}})
            runs += [
                self._run(f"{name}-seed{seed}", label, method, "selection", seed, merged, unchosen)
                for seed in selection.seeds
            ]
        return runs

    def compared(self, chosen: Choices) -> list[PlannedRun]:
        """Every run that is reported: the entries' and the frontier's."""
        runs = []
        for entry in self.study.entries:
            options, unchosen = self._options(entry, chosen), self._unchosen(entry, chosen)
            for seed in self._wanted(entry):
                name = f"{_slug(entry.label)}-seed{seed}"
                runs.append(self._run(name, entry.label, entry.method, "compare", seed, options, unchosen))
        return runs + self._frontier(chosen)

    def all(self, chosen: Choices) -> list[PlannedRun]:
        """Selection runs, then compared ones."""
        searches = [run for stage in self.stages() for label in stage for run in self.search(label, chosen)]
        return searches + self.compared(chosen)

    def _frontier(self, chosen: Choices) -> list[PlannedRun]:
        frontier = self.study.frontier
        if frontier is None:
            return []
        entry = self._reference(frontier.method)
        options = self._options(entry, chosen) if entry else self._shared_options(chosen) | self._last
        unchosen = self._unchosen(entry, chosen)
        runs = []
        reference = self._run("reference", "frontier", frontier.method, "frontier", self._seeds[0], options, unchosen)
        rate = float(parse(list(reference.arguments))[1].learning_rate)
        for scale in frontier.scales:
            label = f"{frontier.method} lr{scale:g}x"
            scaled = options | {"learning_rate": float(f"{scale * rate:.12g}")}  # 0.25 x 1.5e-4 without its last bit
            for seed in self._seeds:
                name = f"{_slug(label)}-seed{seed}"
                runs.append(self._run(name, label, frontier.method, "frontier", seed, scaled, unchosen, scale))
        return runs

    def _check(self) -> None:
        """Parse every command line there may be."""
        study = self.study
        if bad := _unknown(study.options, self._known):
            raise UsageError(f"{study.source}: options: unknown option {bad}{hint(bad, self._known)}")
        for place, options in self._places():
            if bad := _unknown(options, self._known):
                raise UsageError(f"{study.source}: {place}: unknown option {bad}{hint(bad, self._known)}")
        if nameless := [entry.label for entry in study.entries if not _slug(entry.label)]:
            raise UsageError(f"{study.source}: label {nameless[0]} needs a letter or a digit: folders are named so")
        labels: dict[str, str] = {}
        for run in self.all({}):
            if run.name in labels:
                raise UsageError(
                    f"{study.source}: {labels[run.name]} and {run.label} both have a run {run.name}; "
                    "change a label or a value"
                )
            labels[run.name] = run.label

    def _places(self) -> list[tuple[str, Options | Grid]]:
        places: list[tuple[str, Options | Grid]] = [("select: options", self.study.selection.shared or {})]
        for entry in self.study.entries:
            places += [(f"{entry.label}: options", entry.options), (f"{entry.label}: select", entry.grid)]
        return places

    def _wanted(self, entry: Entry) -> list[int]:
        return [seed for seed in entry.seeds if seed in self._seeds]

    def _reference(self, method: str) -> Entry | None:
        """The first entry of a method: what it is compared with."""
        return next((entry for entry in self.study.entries if entry.method == method), None)

    def _shared_options(self, chosen: Choices) -> Options:
        return self.study.options | chosen.get(SHARED, _first(self.study.selection.shared))

    def _options(self, entry: Entry, chosen: Choices) -> Options:
        return self._shared_options(chosen) | self._entry_options(entry, chosen) | self._last

    def _entry_options(self, entry: Entry, chosen: Choices) -> Options:
        inherited = {} if entry.inherit is None else self._entry_options(self.study.entry(entry.inherit), chosen)
        return inherited | entry.options | chosen.get(entry.label, _first(entry.grid))

    def _unchosen(self, entry: Entry | None, chosen: Choices) -> tuple[str, ...]:
        """Options of an entry's runs (None: of a method without an entry) that wait for a search."""
        names, fixed = [], set(self._last)
        while entry is not None:
            if entry.label not in chosen:
                names += [name for name in entry.grid if name not in fixed]
            fixed |= {*entry.options, *entry.grid}
            entry = None if entry.inherit is None else self.study.entry(entry.inherit)
        if SHARED not in chosen:
            names += [name for name in self.study.selection.shared or {} if name not in fixed]
        return tuple(names)

    def _run(
        self,
        name: str,
        label: str,
        method: str,
        role: Role,
        seed: int,
        options: Options,
        unchosen: tuple[str, ...],
        scale: float = 1.0,
    ) -> PlannedRun:
        study = self.study
        seeds = study.selection.seeds if role == "selection" else study.seeds
        base_seed = None if "model" in options else study.base_seeds[seeds.index(seed) % len(study.base_seeds)]
        base = str(options["model"]) if base_seed is None else f"{study.task}-{base_seed}"
        folder = self.output / SELECTION_FOLDER / name if role == "selection" else self.output / name
        arguments = ["--probe", "--task", study.task, "--method", method, "--seed", str(seed)]
        arguments += ["--run_name", name, "--output_dir", str(folder)]
        if base_seed:
            arguments += ["--model", str(base_folder(self.output, study.task, base_seed))]
        if role == "selection":
            arguments += ["--pass_at_k_split", "validation"]
        for option, value in options.items():
            arguments += _flag(option, value)
        try:
            check_options(method, list(options))
            parsed = parse(arguments)
            objective_of(parsed[0])
            check_group(parsed[0], int(parsed[1].num_generations or 0))
        except UsageError as error:
            raise UsageError(f"{study.source}: {label}: {error}") from error
        values = {option: _value(parsed, option) for option in options}
        recorded = as_options(*parsed)
        return PlannedRun(
            name,
            label,
            method,
            role,
            seed,
            base_seed,
            base,
            scale,
            values,
            unchosen,
            folder,
            tuple(arguments),
            recorded,
        )


def points(grid: Grid) -> Iterator[Options]:
    """Every point of a grid, in its order."""
    return (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))


def _first(grid: Grid | None) -> Options:
    return {name: values[0] for name, values in (grid or {}).items()}


def _unknown(options: Options | Grid, known: set[str]) -> str | None:
    return next((str(name) for name in options if name not in known), None)


def _slug(text: str) -> str:
    """A label as the part of a folder's name."""
    return _UNFIT.sub("-", text.lower()).strip("-.")


def _flag(option: str, value: Any) -> list[str]:
    """An option as it is typed."""
    if isinstance(value, list):
        return [f"--{option}", *map(str, value)]
    if isinstance(value, dict):
        return [f"--{option}", json.dumps(value)]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return [f"--{option}={text}"] if text.startswith("-") else [f"--{option}", text]


def _value(parsed: tuple[Any, Any], option: str) -> Any:
    """What the parser made of an option: YAML reads `3e-4` as text."""
    run, config = parsed
    value = getattr(run if hasattr(run, option) else config, option)
    return getattr(value, "value", value)
