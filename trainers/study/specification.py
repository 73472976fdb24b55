"""A study as a person writes it: strict YAML to dataclasses, or one line that says what is wrong and where.

The format is shown by example in `studies/paper-laptop.yaml`. A study compares run entries (a method, its options, a
label) over seeds and base policies; `select` searches hyper-parameters on validation problems with seeds of their own;
`frontier` adds the reference method at other learning rates. Unknown keys, keys given twice and values of another type
are errors that name the file, the place and the nearest known key. What the options themselves may be is checked by
`plan`, which parses every run's command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ...store.errors import UsageError
from ..options.recipe_files import parse_yaml
from ..options.values import hint
from .reading import Grid, Mapping, Options

SHARED = "shared"
"""What the shared grid is called where the others are called by the label of their entry."""


@dataclass(frozen=True)
class Entry:
    """One line of a comparison: a method with its options, run with every seed.

    Attributes:
        grid: options whose values are chosen on validation; empty: none.
        inherit: label of an earlier entry whose options, chosen ones too, this one starts from.
        seeds: a subset of the study's.
    """

    label: str
    method: str
    options: Options
    grid: Grid
    inherit: str | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Selection:
    """How grids are searched.

    Attributes:
        seeds: of the selection runs, none of them a seed of the comparison.
        maximise: the k whose pass@k are added up for the grid of an entry.
        shared: the grid searched first, whose choice applies to every run; empty: none.
        method: what searches the shared grid.
        shared_maximise: the same as `maximise`, for the shared grid.
    """

    seeds: tuple[int, ...] = ()
    maximise: tuple[int, ...] = (1,)
    shared: Grid | None = None
    method: str = ""
    shared_maximise: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Frontier:
    """The reference method at multiples of its learning rate."""

    method: str
    scales: tuple[float, ...]


@dataclass(frozen=True)
class StudySpecification:
    """Everything a study's file says.

    Attributes:
        source: the file, as messages name it.
        base_seeds: the run with the i-th seed starts from base policy `base_seeds[i % len]`; 0 is the shipped one.
        content: the file as YAML reads it.
    """

    source: str
    name: str
    description: str
    task: str
    seeds: tuple[int, ...]
    base_seeds: tuple[int, ...]
    options: Options
    entries: tuple[Entry, ...]
    selection: Selection
    frontier: Frontier | None
    content: dict[str, Any]

    def entry(self, label: str) -> Entry:
        """The entry with that label."""
        return next(entry for entry in self.entries if entry.label == label)


def shipped() -> dict[str, str]:
    """Name → description of every study that comes with the package."""
    folder = files(__package__) / "studies"
    names = sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))
    return {name: str(yaml.safe_load((folder / f"{name}.yaml").read_text())["description"]) for name in names}


def load(name: str) -> StudySpecification:
    """A study by its shipped name or its file's path.

    Raises:
        UsageError: there is none, or it is not as the format wants it.
    """
    if not name.endswith((".yaml", ".yml")) and "/" not in name:
        if name not in shipped():
            raise UsageError(f"there is no study {name}{hint(name, shipped())}; a file of your own ends in .yaml")
        return read(f"{name}.yaml", (files(__package__) / "studies" / f"{name}.yaml").read_text())
    try:
        return read(name, Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        listing = "`simko study --list` names the shipped ones"
        raise UsageError(f"cannot read the study {name}: {reason}; {listing}") from error


def read(source: str, text: str) -> StudySpecification:
    """Parse a study.

    Args:
        source: what messages call it.
        text: YAML.

    Raises:
        UsageError: naming the file, the place and what is wrong there.
    """
    top = Mapping(source, parse_yaml(source, text))
    top.allow("study", "description", "task", "seeds", "base_seeds", "options", "runs", "select", "frontier")
    name = top.text("study")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"{source}: study: {name!r} must be letters, digits, dots and dashes: folders are named so")
    seeds = top.integers("seeds")
    entries: list[Entry] = []
    for i, item in enumerate(top.list("runs")):
        entries.append(_entry(Mapping(f"{source}: runs[{i}]", item), seeds, entries))
    study = StudySpecification(
        source=source,
        name=name,
        description=top.text("description"),
        task=top.text("task"),
        seeds=seeds,
        base_seeds=top.integers("base_seeds", (0,)),
        options=top.options("options"),
        entries=tuple(entries),
        selection=_selection(top, seeds),
        frontier=_frontier(top),
        content=top.content,
    )
    if any(entry.grid for entry in entries) and not study.selection.seeds:
        raise UsageError(f"{source}: select: seeds are missing; the grids of `runs` need seeds of their own")
    return study


def _entry(item: Mapping, seeds: tuple[int, ...], earlier: list[Entry]) -> Entry:
    item.allow("method", "label", "options", "select", "inherit", "seeds")
    method = item.method("method")
    label = item.text("label", method)
    item.where += f" ({label})"
    labels = [entry.label for entry in earlier]
    if label in labels or label == SHARED:
        raise UsageError(f"{item.where}: label {label} is taken; give another `label`")
    inherit = item.text("inherit") if item.given("inherit") else None
    if inherit is not None and inherit not in labels:
        near = hint(inherit, labels) if labels else ""
        raise UsageError(f"{item.where}: inherit: no entry above is labelled {inherit}{near}")
    grid = item.grid("select")
    if grid and inherit is not None:
        raise UsageError(f"{item.where}: an entry that inherits takes what was selected there; leave out its `select`")
    own = item.integers("seeds", seeds)
    if not set(own) <= set(seeds):
        raise UsageError(f"{item.where}: seeds {sorted(set(own) - set(seeds))} are none of the study's {list(seeds)}")
    return Entry(label, method, item.options("options"), grid, inherit, own)


def _selection(top: Mapping, seeds: tuple[int, ...]) -> Selection:
    if not top.given("select"):
        return Selection()
    item = Mapping(f"{top.where}: select", top.content["select"])
    item.allow("seeds", "maximise", "options", "method", "shared_maximise")
    own = item.integers("seeds")
    if both := sorted(set(own) & set(seeds)):
        raise UsageError(f"{item.where}: seeds {both} are compared as well; selection needs seeds of its own")
    maximise = item.maximise("maximise", "pass@1")
    if not item.given("options"):
        for key in ("method", "shared_maximise"):
            if item.given(key):
                raise UsageError(f"{item.where}: {key} is about the shared grid; give its `options` or leave it out")
        return Selection(own, maximise)
    shared = item.grid("options")
    for name in shared:
        if name in top.options("options"):
            raise UsageError(f"{item.where}: options: {name} is fixed in the study's `options` already; leave out one")
    shared_maximise = item.maximise("shared_maximise", item.text("maximise", "pass@1"))
    return Selection(own, maximise, shared, item.method("method"), shared_maximise)


def _frontier(top: Mapping) -> Frontier | None:
    if not top.given("frontier"):
        return None
    item = Mapping(f"{top.where}: frontier", top.content["frontier"])
    item.allow("method", "learning_rate_scale")
    scales = item.numbers("learning_rate_scale")
    if 1.0 in scales:
        raise UsageError(f"{item.where}: learning_rate_scale 1 is the compared run itself; leave it out")
    return Frontier(item.method("method"), scales)
