"""The runs that can be read, and what is small about them as Arrow tables: attempts, `run.json`, sizes of files.

Nothing here raises on the content of a run: what cannot be read is a line of text, and the rest is served.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import SimkoError
from ..layout.checksums import file_checksum
from ..layout.manifest import Attempt, Manifest, ManifestReader
from ..layout.meaning import changes, meaning_of
from ..layout.run import VOCABULARY_FILE, edited, find_runs, nameless_runs, read_run
from ..layout.schema import TABLES, TableName
from ..remote.address import follow as followed_folder
from .evaluations import EVALUATIONS, evaluation_rows

ATTEMPTS = pa.schema(
    [
        ("run", pa.string()),
        ("attempt", pa.int32()),
        ("start_step", pa.int32()),
        ("world_size", pa.int32()),
        ("started", pa.string()),
        ("ended", pa.string()),
        ("status", pa.string()),
        ("logged", pa.bool_()),
        ("dropped", pa.int64()),
        ("last_seen", pa.string()),
        ("probe_k", pa.int32()),
        ("temperature", pa.float64()),
        ("forking_rule", pa.string()),
        ("smoothing_k", pa.int32()),
        ("smoothing_weighting", pa.string()),
        ("rows_every", pa.int32()),
        ("rows_share", pa.float64()),
        ("precision", pa.string()),
    ]
)
BREAKS = pa.schema([("run", pa.string()), ("attempt", pa.int32()), ("step", pa.int32()), ("change", pa.string())])
SIZES = pa.schema(
    [("run", pa.string()), ("attempt", pa.int32()), ("table_name", pa.string())]
    + [(name, pa.int64()) for name in ("n_files", "n_rows", "n_bytes")]
)
RUN_INFO = pa.schema(
    [(name, pa.string()) for name in ("run", "path", "kind", "created", "method", "model", "task", "dataset")]
    + [("forking_rule", pa.string())]
    + [("smoothing_k", pa.int32()), ("smoothing_weighting", pa.string())]
    + [("probe_k", pa.int32()), ("temperature", pa.float64()), ("schema_version", pa.int32())]
    + [("rows_every", pa.int32()), ("rows_share", pa.float64()), ("precision", pa.string())]
    + [("vocabulary", pa.string())]
)
SMALL = {
    "sizes": SIZES,
    "attempts": ATTEMPTS,
    "breaks": BREAKS,
    "run_info": RUN_INFO,
    "evaluations": EVALUATIONS,
}
TEXTS = pa.schema([("vocabulary", pa.string()), ("token_id", pa.int32()), ("text", pa.string())])
LARGE: tuple[TableName, ...] = ("tokens", "responses", "samples")
"""Tables whose files are read to their ends on opening only where all of them together are small."""
_VERIFIED_BYTES = 64_000_000
"""How small: reading as many bytes takes 20 ms, a tenth of what opening takes in any case. Of larger ones the checksums
would cost a fifth of the first scan (CPU time, files in memory), which reads a part of their columns alone."""
_MOST_RANKS = 1000
"""No run logs more ranks; a larger K in a damaged `run.json` would make as many columns."""


@dataclass
class Run:
    """A run that can be read: its name, folder, `run.json` and manifest."""

    name: str
    path: Path
    info: dict[str, Any]
    manifest: Manifest
    vocabulary: Path | None
    """The texts of its tokens, where they are there and as they were written."""
    texts: str | None
    """The checksum of `vocabulary`: runs that have the same share it."""

    def meaning(self, attempt: Attempt) -> Mapping[str, Any]:
        """What an attempt's figures mean (`layout/meaning`)."""
        return attempt.meaning or meaning_of(self.info)


def load_runs(
    folder: str | Path | Sequence[str | Path],
    readers: dict[Path, ManifestReader] | None = None,
    *,
    nested: bool = True,
    follow: bool = True,
) -> tuple[list[Run], list[str]]:
    """The readable runs of a folder (or several), and a line about everything that is not.

    Files are seen to be those that were written, by their checksums: small tables always, token rows and responses
    where they are few bytes. `simko doctor --deep` looks at all of them.

    Args:
        folder: a run, a folder of runs, an address of either in a bucket (`s3://…`), or a list of them.
        readers: keep them between calls, so that only what has changed is read again.
        nested: also the runs in the sub-folders of a run.
        follow: bring copies of runs in a bucket up to date.

    Raises:
        RunNotFound: a folder does not exist.
        RemoteUnreachable, ExtraMissing: an address in a bucket cannot be read.
    """
    given = [folder] if isinstance(folder, (str, Path)) else folder
    followed = [followed_folder(f) if follow else (Path(f), []) for f in given]
    folders = [f for f, _ in followed]
    readers = {} if readers is None else readers
    runs: list[Run] = []
    problems: list[str] = [line for _, lines in followed for line in lines]
    seen: set[str] = set()
    taken: set[str] = set()
    for path in dict.fromkeys(run for f in folders for run in find_runs(Path(f), nested=nested)):
        if (real := os.path.realpath(path)) in seen:
            continue  # the same folder by another way: its rows would count twice
        seen.add(real)
        try:
            str(path).encode()
            info = read_run(path)
        except SimkoError as error:
            problems.append(str(error))
            continue
        except UnicodeEncodeError:
            problems.append(f"{_text(str(path))}: no path in UTF-8, so the run is left out; rename the folder")
            continue
        manifest = readers.setdefault(path, ManifestReader(path)).read()
        vocabulary, texts, problem = _vocabulary(path, manifest)
        problems += filter(None, (problem, edited(path, info)))
        name = path.name if path.name not in taken else str(path)
        taken.add(name)
        runs.append(Run(name, path, info, manifest, vocabulary, texts))
    verified = verified_tables(runs)
    for run in runs:
        run.manifest = readers[run.path].verify(verified, run.manifest)
        problems += run.manifest.problems
    return runs, problems + [line for f in folders for line in nameless_runs(Path(f))]


def verified_tables(runs: Sequence[Run]) -> list[TableName]:
    """The tables whose files are compared with their checksums when these runs are opened together."""
    large = sum(part.bytes for run in runs for part in run.manifest.parts if part.table in LARGE)
    return [table for table in TABLES if table not in LARGE or large <= _VERIFIED_BYTES]


def _vocabulary(path: Path, manifest: Manifest) -> tuple[Path | None, str | None, str | None]:
    """The vocabulary of a run and its checksum, and a line where it cannot be used."""
    vocabulary = path / VOCABULARY_FILE
    problem = None
    if not os.path.lexists(vocabulary):
        problem = "gone" if manifest.vocabulary else None
        return None, None, problem and f"{vocabulary}: {problem}; its tokens have no text"
    try:
        if not vocabulary.is_file():
            problem = "not a regular file"
        elif (checksum := file_checksum(vocabulary)) == (manifest.vocabulary or checksum):
            return vocabulary, checksum, None
        else:
            problem = "altered since it was written (checksum)"
    except OSError as error:
        problem = str(error.strerror)
    return None, None, f"{vocabulary}: {problem}; its tokens have no text"


def vocabularies(runs: Iterable[Run]) -> dict[str, Path]:
    """The different vocabularies of some runs: checksum → one file of those that have it."""
    return {run.texts: run.vocabulary for run in runs if run.texts and run.vocabulary}


def largest_k(runs: Iterable[Run]) -> int:
    """The largest K logged by any of the runs (at least 3, so that Λ(1..3) can always be asked for).

    `run.json`, which anyone may have edited, is asked only where no attempt says its K.
    """
    logged: list[float | None] = []
    for run in runs:
        stated = [attempt.k for attempt in run.manifest.attempts if attempt.k is not None]
        logged += stated or [_number(meaning_of(run.info).get("probe", {}).get("k"))]
    return int(max([3, *(k for k in logged if k and k <= _MOST_RANKS)]))


def small_tables(runs: Sequence[Run]) -> dict[str, pa.Table]:
    """As `small_rows`, but Arrow tables."""
    return {name: pa.Table.from_pylist(rows, schema=SMALL[name]) for name, rows in small_rows(runs).items()}


def small_rows(runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """The rows of `attempts`, `breaks` (where figures mean something else), `run_info`, `evaluations` and `sizes`."""
    attempts: list[dict[str, Any]] = []
    infos: list[dict[str, Any]] = []
    breaks: list[dict[str, Any]] = []
    for run in runs:
        for attempt in run.manifest.attempts:
            texts = {name: _text(getattr(attempt, name)) for name in ("started", "ended", "status")}
            said = _said(run.meaning(attempt))
            said["probe_k"] = said["probe_k"] if attempt.k is None else attempt.k
            attempts.append({"run": run.name, **vars(attempt), **said, **texts})
        logged = [attempt for attempt in run.manifest.attempts if attempt.logged]
        breaks += [
            {"run": run.name, "attempt": new.attempt, "step": new.start_step, "change": _text(", ".join(changed))}
            for old, new in pairwise(logged)
            if (changed := changes(run.meaning(old), run.meaning(new)))
        ]
        infos.append(
            {
                "run": run.name,
                "path": str(run.path),
                **{key: _text(run.info.get(key)) for key in ("created", "method", "model", "task", "dataset")},
                "kind": _text(run.info.get("kind", "training")),
                "schema_version": int(run.info["schema_version"]),
                "vocabulary": run.texts,
                **_said(run.meaning(logged[-1]) if logged else meaning_of(run.info)),
            }
        )
    sizes = [row for run in runs for row in _sizes(run)]
    evaluations = [row for run in runs for row in evaluation_rows(run.name, run.manifest.evaluations)]
    return {
        "sizes": sizes,
        "attempts": attempts,
        "breaks": breaks,
        "run_info": infos,
        "evaluations": evaluations,
    }


def _said(meaning: Mapping[str, Any]) -> dict[str, Any]:
    """What figures mean, as columns."""
    probe, smoothing = meaning.get("probe", {}), meaning.get("smoothing", {})
    rows = probe.get("rows")
    rows = rows if isinstance(rows, dict) else {}
    k = _number(probe.get("k"))
    return {
        "probe_k": None if k is None else int(k),
        "temperature": _number(probe.get("temperature")),
        "forking_rule": _text(probe.get("forking")),
        "smoothing_k": int(_number(smoothing.get("k")) or 0),
        "smoothing_weighting": _text(smoothing.get("weighting", "uniform")),
        "rows_every": int(_number(rows.get("every")) or 1),
        "rows_share": _number(rows.get("responses", 1.0)),
        "precision": _text(rows.get("precision", "float32")),
    }


def _sizes(run: Run) -> list[dict[str, Any]]:
    """Files, rows and bytes by attempt and table."""
    result: dict[tuple[int, str], list[int]] = {}
    for part in run.manifest.parts:
        sums = result.setdefault((part.attempt, part.table), [0, 0, 0])  # attempt 0: evaluations
        for place, number in enumerate((1, part.rows, part.bytes)):
            sums[place] += number
    names = ("n_files", "n_rows", "n_bytes")
    return [
        {"run": run.name, "attempt": attempt or None, "table_name": table, **dict(zip(names, sums, strict=True))}
        for (attempt, table), sums in sorted(result.items())
    ]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 2**31 else None


def _text(value: Any) -> str | None:
    """A value as text that a table can hold: half characters, as JSON can spell them, become question marks."""
    return None if value is None else str(value).encode("utf-8", "replace").decode()
